"""Media made for tests, the demo and the benchmarks. Needs the `media` extra and the dev group.

- `speaking`: sentences spoken by espeak-ng.
- `photos`: photographs with clear licences, and pictures with text.
- `filming`: films of both, with cuts, speech and subtitles at known seconds.
- `hostile`: broken and hostile media, each with what is expected of it.
- `labelled`: the labelled set that recall is measured on.
"""
