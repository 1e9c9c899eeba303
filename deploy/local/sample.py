"""A sample catalogue: a thousand products of three industries, as CSV files like those an enterprise would import.

The rows are made up, the same every time, and name only hosts under `.example`.
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PREFIX: Final = "88.100.1"
HEADER: Final = ("suffix", "1:URL", "2:DESC", "3:DESC", "4:EMAIL")
FIRST_PRODUCT: Final = f"{PREFIX}/pump-0001"
SEED: Final = 88_100_1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductKind:
    """Products that differ in size and number only."""

    slug: str
    english: str
    """With `{size}` where the size stands."""
    chinese: str
    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Industry:
    """One industry: one file."""

    slug: str
    title: str
    products: int
    contact: str
    kinds: tuple[ProductKind, ...]
    unit: str
    """What one record stands for: "serial" of a machine, "batch" of food, "lot" of parts."""
    chinese_unit: str


MACHINERY: Final = Industry(
    slug="machinery",
    title="Machinery",
    products=334,
    contact="service@machines.example",
    unit="serial",
    chinese_unit="编号",
    kinds=(
        ProductKind(
            slug="pump",
            english="Centrifugal pump, {size}, stainless steel",
            chinese="离心泵，{size}，不锈钢",
            sizes=("15 kW", "22 kW", "45 kW", "90 kW"),
        ),
        ProductKind(
            slug="gearbox",
            english="Helical gearbox, ratio {size}",
            chinese="斜齿轮减速机，速比 {size}",
            sizes=("5:1", "12.5:1", "31.5:1"),
        ),
        ProductKind(
            slug="spindle",
            english="Motor spindle, {size}, hybrid bearings",
            chinese="电主轴，{size}，混合陶瓷轴承",
            sizes=("12 000 rpm", "18 000 rpm", "24 000 rpm"),
        ),
        ProductKind(
            slug="valve",
            english="Hydraulic proportional valve, size {size}",
            chinese="液压比例阀，通径 {size}",
            sizes=("NG6", "NG10", "NG16", "NG25"),
        ),
    ),
)
COLD_CHAIN: Final = Industry(
    slug="cold-chain",
    title="Food cold chain",
    products=333,
    contact="quality@coldchain.example",
    unit="batch",
    chinese_unit="批次",
    kinds=(
        ProductKind(
            slug="cod",
            english="Frozen cod fillet, {size}, keep at -18 °C",
            chinese="冷冻鳕鱼片，{size}，-18 °C 保存",
            sizes=("400 g", "1 kg", "5 kg"),
        ),
        ProductKind(
            slug="dumplings",
            english="Frozen pork dumplings, {size}, keep at -18 °C",
            chinese="速冻猪肉水饺，{size}，-18 °C 保存",
            sizes=("500 g", "1 kg"),
        ),
        ProductKind(
            slug="milk",
            english="Fresh milk, pasteurised, {size}, keep at 2-6 °C",
            chinese="巴氏杀菌鲜牛奶，{size}，2-6 °C 冷藏",
            sizes=("250 ml", "950 ml"),
        ),
        ProductKind(
            slug="vaccine",
            english="Influenza vaccine for poultry, {size}, keep at 2-8 °C",
            chinese="禽流感疫苗，{size}，2-8 °C 冷藏",
            sizes=("250 ml", "500 ml"),
        ),
    ),
)
ELECTRONICS: Final = Industry(
    slug="electronics",
    title="Electronics",
    products=333,
    contact="parts@circuits.example",
    unit="lot",
    chinese_unit="批号",
    kinds=(
        ProductKind(
            slug="mosfet",
            english="Power MOSFET, {size}, TO-220",
            chinese="功率场效应管，{size}，TO-220 封装",
            sizes=("60 V 120 A", "100 V 80 A", "650 V 20 A"),
        ),
        ProductKind(
            slug="sensor",
            english="Pressure sensor, {size}, I²C",
            chinese="压力传感器，{size}，I²C 接口",
            sizes=("0-1 bar", "0-10 bar", "0-100 bar"),
        ),
        ProductKind(
            slug="cell",
            english="Lithium iron phosphate cell, {size}",
            chinese="磷酸铁锂电芯，{size}",
            sizes=("50 Ah", "105 Ah", "280 Ah"),
        ),
        ProductKind(
            slug="controller",
            english="Motor controller board, {size}, CAN FD",
            chinese="电机控制板，{size}，CAN FD",
            sizes=("24 V", "48 V", "400 V"),
        ),
    ),
)
INDUSTRIES: Final = (MACHINERY, COLD_CHAIN, ELECTRONICS)


def write_catalogue(directory: Path) -> list[tuple[Industry, Path]]:
    """Write one CSV file an industry and return them; files that are there already are written again alike."""
    written = []
    for industry in INDUSTRIES:
        path = directory / f"{industry.slug}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(HEADER)
            rows.writerows(catalogue(industry))
        written.append((industry, path))
    return written


def catalogue(industry: Industry) -> Iterator[tuple[str, ...]]:
    """The rows of an industry, below HEADER."""
    chosen = random.Random(f"{SEED} {industry.slug}")
    for at in range(industry.products):
        kind = industry.kinds[at % len(industry.kinds)]
        suffix = f"{kind.slug}-{at // len(industry.kinds) + 1:04}"
        size = chosen.choice(kind.sizes)
        made = f"2026-W{chosen.randrange(1, 53):02}-{chosen.randrange(10_000):04}"
        yield (
            suffix,
            f"https://{industry.contact.partition('@')[2]}/{industry.slug}/{suffix}",
            f"{kind.english.format(size=size)}, {industry.unit} {made}",
            f"{kind.chinese.format(size=size)}，{industry.chinese_unit} {made}",
            industry.contact,
        )
