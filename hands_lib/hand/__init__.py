"""The hand: named joints, kinematics, and the closed surface that grows on the skeleton."""
