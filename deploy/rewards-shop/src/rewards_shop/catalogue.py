"""What the shop has to give. Names and descriptions are in texts.py, pictures in templates/art."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reward:
    reward_id: str
    points: int
    in_stock: bool = True
    """What only the warehouse knows: the catalogue does not show it, so the shop learns it after the hold."""


REWARDS = {
    reward.reward_id: reward
    for reward in (
        Reward("trees", 150),
        Reward("coffee", 250),
        Reward("book", 400),
        Reward("bouquet", 550),
        Reward("bottle", 700),
        Reward("lamp", 900, in_stock=False),
        Reward("headphones", 2_400),
        Reward("alps", 120_000),
    )
}


def warehouse_has(reward_id: str) -> bool:
    """Asked after the points are held. Asking twice is harmless, as it must be for an order taken up again."""
    reward = REWARDS.get(reward_id)  # It may have left the catalogue since the order was placed.
    return reward is not None and reward.in_stock
