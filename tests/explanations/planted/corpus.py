"""Texts made from sentences of a few subjects, as tokens like those of GPT-2."""

import random
import re
from functools import cache

TOPICS: dict[str, list[str]] = {
    "animals": [
        "cat",
        "dog",
        "horse",
        "cow",
        "sheep",
        "goat",
        "wolf",
        "fox",
        "rabbit",
        "mouse",
        "tiger",
        "lion",
        "bear",
        "elephant",
        "monkey",
        "deer",
    ],
    "food": [
        "bread",
        "cheese",
        "soup",
        "rice",
        "butter",
        "apple",
        "cake",
        "salad",
        "potato",
        "sausage",
        "pasta",
        "egg",
        "honey",
        "onion",
        "sugar",
        "pie",
    ],
    "weather": [
        "rain",
        "snow",
        "storm",
        "wind",
        "fog",
        "thunder",
        "hail",
        "sunshine",
        "frost",
        "cloud",
        "drizzle",
        "lightning",
        "breeze",
        "heat",
        "ice",
    ],
    "music": [
        "piano",
        "violin",
        "guitar",
        "drum",
        "flute",
        "trumpet",
        "song",
        "melody",
        "concert",
        "choir",
        "orchestra",
        "cello",
        "harp",
        "opera",
    ],
    "money": [
        "bank",
        "loan",
        "price",
        "dollar",
        "debt",
        "tax",
        "profit",
        "salary",
        "coin",
        "budget",
        "credit",
        "market",
        "invoice",
        "fund",
        "rent",
    ],
    "vehicles": [
        "car",
        "bus",
        "truck",
        "train",
        "bicycle",
        "boat",
        "ship",
        "plane",
        "tram",
        "van",
        "motorcycle",
        "taxi",
        "ferry",
        "tractor",
    ],
    "medicine": [
        "doctor",
        "nurse",
        "hospital",
        "fever",
        "pill",
        "surgery",
        "wound",
        "patient",
        "vaccine",
        "clinic",
        "infection",
        "pulse",
    ],
    "clothes": [
        "shirt",
        "coat",
        "hat",
        "shoe",
        "dress",
        "glove",
        "scarf",
        "jacket",
        "sock",
        "skirt",
        "sweater",
        "belt",
        "boot",
        "sleeve",
    ],
}
_TEMPLATES: dict[str, list[str]] = {
    "animals": [
        "The {} was sleeping in the barn beside a {}.",
        "A hungry {} followed the {} across the field.",
        "We saw one {} and a young {} near the river.",
        "Nobody feeds the {} when it hunts at night.",
    ],
    "food": [
        "She cooked {} with {} for dinner.",
        "The {} tasted better than the {} in the kitchen.",
        "He was eating some {} while the {} cooled.",
        "Add a little {} before you serve it.",
    ],
    "weather": [
        "The {} came before the {} in the morning.",
        "After a week of {} the sky was clear.",
        "Heavy {} and {} closed the roads in the north.",
        "They were waiting until the {} had passed.",
    ],
    "music": [
        "She was playing the {} while he tuned a {}.",
        "The old {} sounded sad in the empty hall.",
        "A {} and the {} opened the evening.",
        "He wrote a piece for {} last winter.",
    ],
    "money": [
        "The {} was too high for a small {}.",
        "They paid the {} from a new {}.",
        "Every {} depends on the {} in the end.",
        "A rising {} worried the owners.",
    ],
    "vehicles": [
        "The {} stopped behind a red {}.",
        "He was driving a {} to the station.",
        "The {} left before the {} arrived.",
        "An old {} stood in the yard for years.",
    ],
    "medicine": [
        "The {} asked about the {} again.",
        "A {} and one more {} were needed.",
        "After the {} she was resting at home.",
        "They spoke with the {} for an hour.",
    ],
    "clothes": [
        "He bought a {} and a warm {}.",
        "The {} was hanging beside the {} on the door.",
        "Her {} had a hole in it.",
        "A blue {} lay under the {}.",
    ],
}
# What a rule with a context needs: a word both after the other word and without it.
_PAIRS = [
    ("They waited at the traffic light again.", ["A traffic light", "The bright light", "Some warm light"]),
    ("We met in the white house.", ["The white house", "An old house", "The small house", "Her house"]),
    ("It was an orange juice.", ["Cold orange juice", "Some tomato juice", "The juice"]),
    ("A prison cell is dark.", ["The prison cell", "One blood cell", "Every cell"]),
    ("She read the daily paper.", ["The daily paper", "Some white paper", "A thin paper"]),
    ("He said good night.", ["They wished good night", "A long night", "One dark night", "The night"]),
]
_ENDS = [" was there.", " seemed different.", " went unnoticed.", " stayed in her mind."]
_OTHERS = [
    "Is it true that Mary left early?",
    "In {year} about {n} people lived there.",
    "Why did Peter call so late?",
    "The number was {n} in {year}.",
    "Stop!",
    "Yes, she said, it costs {n} or {d} now.",
    "Did Anna see the {d} boys?",
    "Page {d} has no pictures.",
    "Nothing changed, and Robert was smiling.",
    "What a day it was!",
]
_TOKEN = re.compile(r"\n| ?[A-Za-z]+| ?\d|[^\w\s]")


def tokens_of(text: str) -> list[str]:
    """A text as tokens: words with the space before them, single digits, marks, ends of lines."""
    return _TOKEN.findall(text)


@cache
def corpus(n: int = 700, seed: int = 0) -> list[list[str]]:
    """So many texts of 4 to 7 sentences; half of their sentences stay with one subject."""
    chance = random.Random(seed)
    return [tokens_of(_text(chance)) for _ in range(n)]


def _text(chance: random.Random) -> str:
    topic, text = chance.choice(list(TOPICS)), ""
    for number in range(chance.randint(4, 7)):
        sentence = _sentence(chance, topic if chance.random() < 0.55 else chance.choice(list(TOPICS)))
        between = "" if not number else "\n" if chance.random() < 0.15 else " "
        text += between + sentence
    return text


def _sentence(chance: random.Random, topic: str) -> str:
    kind = chance.random()
    if kind < 0.5:
        template = chance.choice(_TEMPLATES[topic])
        words = chance.sample(TOPICS[topic], template.count("{}"))
        if chance.random() < 0.1:
            words = [word + "s" for word in words]
        return template.format(*words)
    if kind < 0.75:
        whole, subjects = chance.choice(_PAIRS)
        return whole if chance.random() < 0.2 else chance.choice(subjects) + chance.choice(_ENDS)
    other = chance.choice(_OTHERS)
    return other.format(n=chance.randint(10, 9999), year=chance.randint(1900, 2029), d=chance.randint(1, 9))
