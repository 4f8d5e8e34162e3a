"""Hand-object reconstruction with feature enhancement and physical constraints.

Paper    Liu, Jiang, Zhang, Wei, Hua, Chen, "Hand-Object Reconstruction Method with Feature Enhancement and
         Physical Constraints". Public are an abstract, a figure and parts of code: what is rebuilt from a
         name alone is called a reconstruction
Chapters book/hand_object/
Units    metres
Frames   world or camera; a hand is a right one, a left one is mirrored with what it holds

`physics` is the signed-distance loss, `settling` what the same terms do at test time, without learning.
"""
