"""What every rule must keep to, and what this one is for."""

from arrives import Arrives

from recent_prune.testing import RuleContract, example_result


class TestArrives(RuleContract):
    def rule(self) -> Arrives:
        return Arrives()

    def test_condemns_what_loses_its_input(self) -> None:
        assert not self.rule()(example_result([0.7, 0.05])).trainable
        assert self.rule()(example_result([0.7, 0.15])).trainable

    def test_does_not_blame_noise(self) -> None:
        assert self.rule()(example_result([0.1, 0.05], redundancy=0.1)).trainable
