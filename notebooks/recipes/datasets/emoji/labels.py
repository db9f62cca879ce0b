"""Which things the picture models know by name: 400 and some of the world's 861.

Taken are the things that at least eight of the nine training styles have drawn, and
Twemoji; left out are those that differ from another by an hour, a colour, a phase or
a direction, so that a name says what there is to see. Decided before any training.
"""

from __future__ import annotations

from recipes.datasets.emoji.drawings import TEST_STYLE, TRAINING_STYLES

DRAWN = 8  # of the nine training styles

# Two of a kind: what stays is named first.
LEFT_OUT = """
full moon, crescent moon: new moon; waxing crescent moon; first quarter moon;
  waxing gibbous moon; waning gibbous moon; last quarter moon; waning crescent moon;
  new moon face; first quarter moon face; last quarter moon face; full moon face
dog face, monkey, camel, mouse, cow: poodle; monkey face; two-hump camel; rat; ox
sheep and hens: goat; front-facing baby chick
dragon, spouting whale: dragon face; whale
red apple: green apple
globe showing Europe-Africa: globe showing Americas; globe showing Asia-Australia
house: houses; derelict house
hotel, school: love hotel; Japanese post office; post office; department store
sunset, cityscape: cityscape at dusk; sunrise over mountains
train, tram, bullet train: railway car; high-speed train; light rail; station;
  mountain railway; tram car
aerial tramway: suspension railway; mountain cableway
bus, taxi: oncoming bus; oncoming police car; oncoming taxi; oncoming automobile;
  trolleybus; minibus
vertical traffic light: horizontal traffic light
speedboat: motor boat
airplane: small airplane; airplane departure; airplane arrival
hourglass done: hourglass not done
star, sun behind cloud: glowing star; sun behind small cloud; sun behind large cloud
umbrella: umbrella with rain drops; umbrella on ground
ticket: admission tickets
speaker high volume: speaker low volume; speaker medium volume
musical note: musical notes
mobile phone: mobile phone with arrow
optical disk, camera: dvd; camera with flash
magnifying glass tilted left: magnifying glass tilted right
closed book, notebook: green book; blue book; orange book; ledger;
  notebook with decorative cover
page with curl, newspaper: page facing up; rolled-up newspaper; bookmark tabs
dollar banknote: yen banknote; pound banknote; euro banknote
chart increasing: chart increasing with yen
envelope, inbox tray: e-mail; incoming envelope; envelope with arrow; outbox tray
closed mailbox with raised flag: closed mailbox with lowered flag;
  open mailbox with raised flag; open mailbox with lowered flag
fountain pen, file folder: pen; open file folder; card index dividers
tear-off calendar: calendar; spiral calendar
pushpin, paperclip: round pushpin; linked paperclips
locked: locked with pen; locked with key
"""


def left_out() -> set[str]:
    """Return the names that LEFT_OUT leaves out."""
    rows = LEFT_OUT.replace("\n  ", " ").strip().splitlines()
    return {
        name.strip() for row in rows for name in row.split(":")[1].split(";") if name
    }


def is_clock(name: str) -> bool:
    """Return whether a thing is a clock's face with an hour."""
    return name.endswith(("o’clock", "-thirty"))


def known_names(things: list[dict]) -> list[str]:
    """Return the names of the things to know, in the order of `things`, whose rows have
    `name` and `styles`. Raises ValueError where LEFT_OUT names no such thing."""
    names = []
    for thing in things:
        drawn = sum(style in thing["styles"] for style in TRAINING_STYLES)
        tested = TEST_STYLE in thing["styles"]
        if drawn >= DRAWN and tested and not is_clock(thing["name"]):
            names.append(thing["name"])
    unknown = left_out() - set(names)
    if unknown:
        raise ValueError(f"not among the things: {sorted(unknown)}")
    return [name for name in names if name not in left_out()]


def other_names(things: list[dict]) -> list[str]:
    """Return the names of what a training style has drawn and no model is to know."""
    known = {*known_names(things), *left_out()}
    return [
        thing["name"]
        for thing in things
        if thing["name"] not in known
        and not is_clock(thing["name"])
        and any(style in TRAINING_STYLES for style in thing["styles"])
    ]
