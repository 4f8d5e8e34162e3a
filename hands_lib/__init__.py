"""Two interacting hands in 3D: the thin library behind the book.

Units are metres and radians; a right hand rests with fingers along +y, the back of the hand along +z
and the thumb towards -x; cameras follow OpenCV (x right, y down, z forward). `book/notation.md` has it all.
"""

__version__ = "0.2.0"
