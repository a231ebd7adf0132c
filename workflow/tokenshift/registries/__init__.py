"""What can be extended, one registry per concept, read by the study file, the measurements, the tables and the figures.

`criteria` (where cross-sampling switches), `controls` (switching at random with a matched budget), `claims` (what the
paper says), `trajectories` (whose responses are scored). Adding a criterion, control or claim takes an entry here, its
function where it is computed (each entry says where), and a test. The weights of advantages are registered where the
study file declares their settings, in tokenshift.config.weights. None of this imports torch or Matplotlib.
"""
