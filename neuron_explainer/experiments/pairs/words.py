"""The words that pairs of prompts are made of: common ones, of which most models have a token for each."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MEN = _words(
    "John David James Robert Michael William Thomas Paul Peter Mark George Simon Adam Daniel Martin Henry Frank "
    "Steven Kevin Brian Jack Andrew Anthony Charles Edward Joseph Matthew Richard Scott Tom"
)
WOMEN = _words(
    "Mary Emma Elizabeth Sarah Anna Laura Alice Kate Jane Susan Helen Lisa Julia Maria Rachel Rebecca Claire "
    "Emily Jessica Amy Linda Karen Nancy Diana Martha Margaret Barbara Ruth Anne Lucy"
)
NAMES = (*MEN, *WOMEN)

PLACES = _words("store house garden school station market hospital office restaurant park library beach city field")
THINGS = _words("book letter key ring bag ticket map basket drink present hat flower")

COUNTED_NOUNS = _words(
    "key book letter picture friend teacher doctor student driver farmer boy girl king son brother sister name "
    "word hand horse dog tree chair lamp"
)
"""Nouns that take an s in the plural."""
ATTRACTORS = _words("house tree road window door table river bridge tower garden wall field car boat object")
"""Nouns of the other number that stand between a subject and its verb."""
VERBS = ((" is", " are"), (" was", " were"), (" has", " have"))
"""Of one, and of several."""

KIN = [
    ("brother", "sister"),
    ("father", "mother"),
    ("uncle", "aunt"),
    ("son", "daughter"),
    ("husband", "wife"),
    ("grandfather", "grandmother"),
]

CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "England": "London",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Russia": "Moscow",
    "Poland": "Warsaw",
    "Austria": "Vienna",
    "Greece": "Athens",
    "Portugal": "Lisbon",
    "Ireland": "Dublin",
    "Egypt": "Cairo",
    "Cuba": "Havana",
    "Hungary": "Budapest",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Denmark": "Copenhagen",
    "Finland": "Helsinki",
    "Canada": "Ottawa",
    "Iraq": "Baghdad",
    "Iran": "Tehran",
    "Kenya": "Nairobi",
    "Peru": "Lima",
}
LANGUAGES = {
    "France": "French",
    "Germany": "German",
    "Italy": "Italian",
    "Spain": "Spanish",
    "England": "English",
    "Japan": "Japanese",
    "China": "Chinese",
    "Russia": "Russian",
    "Poland": "Polish",
    "Greece": "Greek",
    "Portugal": "Portuguese",
    "Hungary": "Hungarian",
    "Sweden": "Swedish",
    "Denmark": "Danish",
    "Turkey": "Turkish",
}
YOUNG = {
    "dog": "puppy",
    "cat": "kitten",
    "cow": "calf",
    "sheep": "lamb",
    "bear": "cub",
    "goat": "kid",
    "deer": "fawn",
    "horse": "foal",
}

SPANS = _words("war siege drought expedition project voyage reign conflict programme study")
"""What lasts for years."""

COMMON_NOUNS = _words(
    "tree river house stone water fire bread horse garden window table letter music winter summer morning night "
    "city field king book door light road hand heart voice paper glass metal bird fish mountain ocean bridge "
    "tower kitchen market doctor teacher picture engine forest island"
)
