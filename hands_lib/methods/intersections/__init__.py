"""Occupancy networks and the intersection loss: two hands that do not share space.

Paper    Ivashechkin, Mendez, Bowden, "Two Hands Are Better Than One: Resolving Hand to Hand Intersections via
         Occupancy Networks" (sections, equations and tables below are this paper's)
Chapters book/intersections/
Units    metres at every interface; networks see coordinates minus the wrist in units of 0.1 m
Frames   world, right-handed. A pair of hands is (2, 21, 3), the right hand first, the left one as it stands
         in the world. Networks know RIGHT hands only: a left hand is reflected (x -> -x) before they see it
Volume   of a hand is that of the thin surface (`HandShape.thin`) around its 21 joints, so that it is a
         function of the skeleton; networks learn it, ray casting measures it

`occupancy` is the network that says how probably a point is inside a hand, `sampling` makes what it learns
from and measures it, `occupancy_training` is its loop; `points` and `loss` are the intersection loss (Eq. 1);
`estimators` and `estimator_training` predict the hands that it corrects, `evaluation` counts intersections,
`untangle` takes them out of given hands.

What is compared stands beside it: `estimator_tasks` (what estimators learn from), `estimator_comparison` and
`studies` (with and without the loss: choice, scores, rows of the tables), `detection` (what a variant of the
loss sees), `repairs` (other ways to take hands apart, and their score). `recorded_network` reads a trained
occupancy network from the record of its run.
"""
