"""What is said and written in the labelled set, and the queries that must find it.

Queries never repeat a sentence: most say the same in other words, some give two or three of its
words. Every right answer is one sentence, sign or photograph and no other.
"""

from __future__ import annotations

from typing import NamedTuple


class Label(NamedTuple):
    """What is said or written, and a query for it."""

    text: str
    query: str


FILMS: dict[str, tuple[Label, ...]] = {
    "baking": (
        Label(
            "Knead the dough for ten minutes until it feels smooth.",
            "how long to work the bread dough",
        ),
        Label(
            "Let the loaf cool on a rack before you slice it.",
            "do not cut the bread while it is hot",
        ),
        Label("A pinch of salt brings out the flavour of the flour.", "why add salt to the flour"),
    ),
    "sailing": (
        Label(
            "The wind turned to the north and we lowered the main sail.",
            "taking down the sail when the wind changed",
        ),
        Label("Our anchor held firmly through the whole storm.", "anchor in the storm"),
        Label(
            "Dolphins followed the boat for more than an hour.",
            "sea animals swimming alongside the ship",
        ),
    ),
    "beekeeping": (
        Label(
            "The queen lays up to two thousand eggs every day.",
            "how many eggs does a bee queen produce",
        ),
        Label("Smoke keeps the bees calm while we open the hive.", "calming insects with smoke"),
        Label(
            "In autumn we leave enough honey for the winter.", "honey stores for the cold season"
        ),
    ),
    "railways": (
        Label(
            "The night train to Vienna departs from platform seven.",
            "which platform for the train to Vienna",
        ),
        Label(
            "Steam engines needed water every fifty miles.", "how often locomotives had to refill"
        ),
        Label("A fallen tree blocked the tracks near the tunnel.", "obstacle on the railway line"),
    ),
    "medicine": (
        Label(
            "Wash your hands with soap before touching the wound.",
            "hygiene before treating an injury",
        ),
        Label("The patient was allergic to penicillin.", "allergy to an antibiotic"),
        Label(
            "Her fever went down after three days of rest.",
            "the temperature dropped and she recovered",
        ),
    ),
    "football": (
        Label(
            "The goalkeeper saved a penalty in the final minute.",
            "penalty kick stopped at the end of the match",
        ),
        Label("Our captain scored twice in the first half.", "two goals before the break"),
        Label("The referee showed him a red card for the tackle.", "player sent off for a foul"),
    ),
    "gardening": (
        Label(
            "Plant the tulip bulbs before the first frost.", "when to put tulips into the ground"
        ),
        Label("Snails ate all of our young lettuce last night.", "slugs destroyed the salad"),
        Label("Roses should be pruned in early spring.", "cutting back rose bushes"),
    ),
    "astronomy": (
        Label(
            "The comet will not return for another seventy years.", "when does the comet come back"
        ),
        Label("Saturn has rings made of ice and dust.", "what are the rings of the planet made of"),
        Label(
            "Light from that galaxy left before there were humans.",
            "ancient starlight from a distant galaxy",
        ),
    ),
    "banking": (
        Label("The interest rate rises to four percent in March.", "increase of interest rates"),
        Label("Never tell anyone the number of your credit card.", "keep your card number secret"),
        Label("She paid back the loan two years early.", "debt repaid ahead of schedule"),
    ),
    "weather": (
        Label(
            "Heavy rain will reach the coast by Friday evening.",
            "forecast of showers at the seaside",
        ),
        Label("Thick fog closed the airport this morning.", "flights cancelled because of mist"),
        Label("It was the hottest July since records began.", "record summer heat"),
    ),
    "history": (
        Label("The castle burned down in the year fourteen twelve.", "fire destroyed the fortress"),
        Label(
            "Farmers marched to the capital to protest against the tax.",
            "peasants demonstrating over taxes",
        ),
        Label("The treaty was signed on board a ship.", "where was the peace agreement signed"),
    ),
    "software": (
        Label(
            "The server ran out of memory and restarted itself.",
            "machine crashed from lack of memory",
        ),
        Label("Please update your password before Monday.", "change the password"),
        Label("We found the bug in the calendar module.", "error in the calendar code"),
    ),
    "music": (
        Label("The violin is tuned in perfect fifths.", "tuning of a string instrument"),
        Label("She practised the piano four hours a day.", "daily piano practice"),
        Label("The choir sang without a conductor.", "singers performing with nobody leading them"),
    ),
    "mountains": (
        Label("We reached the summit just before sunrise.", "on top of the mountain at dawn"),
        Label("An avalanche buried the old cabin in snow.", "hut covered by a snow slide"),
        Label(
            "The rope bridge sways above a deep gorge.", "crossing a canyon on a swinging bridge"
        ),
    ),
    "school": (
        Label("The exam begins at nine and lasts two hours.", "start time of the test"),
        Label("Children learn to read with picture books.", "teaching kids reading"),
        Label(
            "The library is closed during the summer holidays.",
            "can I borrow books in the vacation",
        ),
    ),
    "cars": (
        Label(
            "Check the pressure of your tires once a month.",
            "how often should tyre pressure be measured",
        ),
        Label("The electric car charges in thirty minutes.", "charging time of a battery vehicle"),
        Label("A strange noise came from under the engine.", "rattling sound of the motor"),
    ),
    "animals": (
        Label("The owl hunts mice in complete darkness.", "night bird catching rodents"),
        Label("Elephants remember places where they found water.", "elephant memory of water"),
        Label("My neighbour's parrot imitates the telephone.", "bird copying a ringing phone"),
    ),
    "painting": (
        Label(
            "He mixed blue and yellow to paint the meadow green.",
            "how to make green from other colours",
        ),
        Label(
            "The stolen portrait was found in an attic.",
            "missing painting discovered under the roof",
        ),
        Label("Her first exhibition opens on the third of May.", "date of the art show opening"),
    ),
    "travel": (
        Label(
            "You need a visa to stay longer than ninety days.",
            "permission for a long visit to the country",
        ),
        Label("Our suitcase was left behind in Lisbon.", "lost luggage in Portugal"),
        Label("The hotel serves breakfast until half past ten.", "how late can I eat breakfast"),
    ),
    "energy": (
        Label(
            "Solar panels on the roof power the whole village.",
            "electricity from the sun for a small town",
        ),
        Label("The dam holds enough water for two dry summers.", "reservoir capacity in a drought"),
        Label(
            "Old houses lose most of their heat through windows.",
            "where does warmth escape from a building",
        ),
    ),
}

SIGNS: tuple[Label, ...] = (
    Label("Beware of the dog", "warning about a guard dog"),
    Label("Fresh strawberries\n3 euros a basket", "strawberries for sale"),
    Label("Library opens at ten", "opening time of the library"),
    Label("No swimming\nstrong currents", "dangerous water do not swim"),
    Label("Lost: grey kitten\nanswers to Pepper", "missing kitten poster"),
    Label("Jazz night every Thursday", "weekly jazz concert"),
    Label("Platform 4\nTrains to Edinburgh", "trains to Edinburgh"),
    Label("Emergency exit", "way out in an emergency"),
    Label("Wet paint", "do not touch freshly painted"),
    Label("Quarterly revenue grew by 18 percent", "growth of revenue"),
    Label("Please keep off the grass", "do not walk on the lawn"),
    Label("Mountain Film Festival\n12 to 15 October", "film festival in October"),
    Label("Museum of Clocks", "clock museum"),
    Label("Closed for repairs until Monday", "shut for repairs"),
    Label("Organic honey from our village", "local honey"),
    Label("Fire extinguisher", "equipment to put out flames"),
    Label("Bicycle rental\nhalf day 8 pounds", "rent a bike"),
    Label("Quiet zone\nphones off", "silence area no telephones"),
    Label("Today: tomato soup with basil", "soup of the day"),
    Label("Vote on 6 June", "election date"),
    Label("Danger: high voltage", "risk of electric shock"),
    Label("Lecture: the physics of glaciers", "talk about glaciers"),
    Label("Yard sale this Saturday", "second hand sale at the weekend"),
    Label("Ferry to Orkney\nnext departure 16:45", "boat to Orkney"),
    Label("Hard hats must be worn", "helmets required on the building site"),
    Label("Happy birthday Martha", "birthday greeting for Martha"),
    Label("Elevator out of order\nuse the stairs", "broken lift"),
    Label("Winter coats half price", "discount on coats"),
    Label("Chess club meets on Tuesdays", "chess club"),
    Label("Falling rocks next two miles", "rockfall on the road"),
    Label("Pharmacy open all night", "medicine shop at night"),
    Label("Do not feed the pigeons", "feeding birds is forbidden"),
    Label("Wedding of Anna and Tom", "marriage celebration invitation"),
    Label("Invoice 2041\nTotal due 315 dollars", "amount to pay on the bill"),
    Label("Welcome to Lighthouse Bay", "welcome sign of the bay"),
    Label("Haircuts without appointment", "barber walk in"),
    Label("Free wifi\npassword: walrus", "wireless internet password"),
    Label("Pottery class for beginners", "learn to make ceramics"),
    Label("Sold out: Hamlet", "no tickets left for the play"),
    Label("Recycling: glass only", "bottles container"),
)

PARTS: tuple[tuple[str, tuple[int, int, int, int]], ...] = (
    ("astronaut", (0, 0, 125, 250)),
    ("astronaut", (130, 0, 200, 190)),
    ("astronaut", (335, 0, 177, 260)),
    ("astronaut", (20, 250, 240, 262)),
    ("astronaut", (268, 325, 244, 187)),
    ("camera", (140, 40, 180, 180)),
    ("camera", (330, 80, 182, 130)),
    ("camera", (0, 222, 200, 290)),
    ("camera", (215, 290, 210, 222)),
    ("cat", (75, 20, 160, 150)),
    ("cat", (245, 75, 120, 95)),
    ("cat", (190, 175, 190, 125)),
    ("cat", (0, 175, 185, 125)),
    ("coffee", (165, 0, 240, 180)),
    ("coffee", (300, 190, 160, 160)),
    ("coffee", (80, 185, 190, 200)),
    ("coffee", (470, 100, 130, 290)),
    ("rocket", (270, 110, 100, 317)),
    ("rocket", (0, 0, 105, 250)),
    ("rocket", (110, 330, 150, 97)),
    ("rocket", (400, 80, 120, 240)),
    ("galaxies", (0, 0, 333, 436)),
    ("galaxies", (333, 0, 333, 436)),
    ("galaxies", (666, 0, 334, 436)),
    ("galaxies", (0, 436, 333, 436)),
    ("galaxies", (333, 436, 333, 436)),
    ("galaxies", (666, 436, 334, 436)),
    ("retina", (50, 440, 420, 500)),
    ("retina", (520, 480, 400, 400)),
    ("retina", (450, 60, 600, 380)),
    ("retina", (400, 940, 600, 400)),
    ("vessels", (0, 0, 102, 102)),
    ("cell", (300, 240, 250, 260)),
    ("clock", (0, 0, 400, 300)),
    ("bricks", (0, 0, 512, 256)),
    ("bricks", (0, 256, 512, 256)),
    ("grass", (0, 0, 512, 256)),
    ("grass", (0, 256, 512, 256)),
    ("gravel", (0, 0, 512, 256)),
    ("gravel", (0, 256, 512, 256)),
)
"""Photographs of the labelled set: parts of `photos.PHOTOGRAPHS` that do not overlap."""
