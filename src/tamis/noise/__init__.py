"""Label noise without clean labels: transition matrices, neighbour agreement, flags, and noise of known shape.

`estimate_transition` answers how often a true class is written down as another (`TransitionMatrix`, the NoiseModel of
tamis); `knn_agreement` with `rank_rule` or `vote_rule`, and `half_hidden_votes`, answer which items disagree with their
neighbourhood; `inject_noise` makes noise whose truth is known. All of these assume that neighbours share the true class
and that errors depend on the class only: what neighbours get wrong together cannot be seen. `dawid_skene` asks the same
of workers in place of neighbours: where several answered the same tasks, how often each writes which class as which.
"""

from tamis.noise.agreement import (
    Agreement,
    implied_flag_rate,
    knn_agreement,
    label_frequencies,
    rank_rule,
    vote_rule,
)
from tamis.noise.bootstrap import TransitionBootstrap, bootstrap_transition
from tamis.noise.consensus import consensus_loss
from tamis.noise.dawid_skene import DawidSkene, dawid_skene, dawid_skene_bytes
from tamis.noise.diagnostics import (
    ExcessAgreement,
    NoiseDiagnostics,
    diagnose,
    excess_agreement,
    two_nn_purity,
)
from tamis.noise.fit import ConsensusFit, fit_transition, name_classes
from tamis.noise.injection import (
    Injected,
    copy_first_neighbors,
    draw_truth_triples,
    inject_noise,
    label_triples,
    mix_neighbor_classes,
    transition_family,
)
from tamis.noise.majority import majority_vote
from tamis.noise.matrix import TransitionMatrix
from tamis.noise.moments import (
    ConsensusMoments,
    average_moments,
    count_moments,
    model_moments,
    triple_moments,
)
from tamis.noise.rounds import RoundVotes, half_hidden_votes, visibility_words
from tamis.noise.transition import estimate_transition

__all__ = [
    "Agreement",
    "ConsensusFit",
    "ConsensusMoments",
    "DawidSkene",
    "ExcessAgreement",
    "Injected",
    "NoiseDiagnostics",
    "RoundVotes",
    "TransitionBootstrap",
    "TransitionMatrix",
    "average_moments",
    "bootstrap_transition",
    "consensus_loss",
    "copy_first_neighbors",
    "count_moments",
    "dawid_skene",
    "dawid_skene_bytes",
    "diagnose",
    "draw_truth_triples",
    "estimate_transition",
    "excess_agreement",
    "fit_transition",
    "half_hidden_votes",
    "implied_flag_rate",
    "inject_noise",
    "knn_agreement",
    "label_frequencies",
    "label_triples",
    "majority_vote",
    "mix_neighbor_classes",
    "model_moments",
    "name_classes",
    "rank_rule",
    "transition_family",
    "triple_moments",
    "two_nn_purity",
    "visibility_words",
    "vote_rule",
]
