"""What was not trained, and how sure it is that little was lost."""

from recent_prune.audit.certified import Audit, Costs, audited, rule_of
from recent_prune.audit.ranking import RankedTrial, RankingAudit, audited_ranking

__all__ = [
    "Audit",
    "Costs",
    "RankedTrial",
    "RankingAudit",
    "audited",
    "audited_ranking",
    "rule_of",
]
