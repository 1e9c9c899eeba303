"""Administrative divisions by GB/T 2260: six digits, two each for province, city and district. Pure.

Cities and districts are renamed and merged every year, so only provinces are listed; of the others the form is checked
and that each lies in the one before it.
"""

import re
from collections.abc import Mapping
from typing import Final

PROVINCES: Final[Mapping[str, str]] = {
    "11": "北京市",
    "12": "天津市",
    "13": "河北省",
    "14": "山西省",
    "15": "内蒙古自治区",
    "21": "辽宁省",
    "22": "吉林省",
    "23": "黑龙江省",
    "31": "上海市",
    "32": "江苏省",
    "33": "浙江省",
    "34": "安徽省",
    "35": "福建省",
    "36": "江西省",
    "37": "山东省",
    "41": "河南省",
    "42": "湖北省",
    "43": "湖南省",
    "44": "广东省",
    "45": "广西壮族自治区",
    "46": "海南省",
    "50": "重庆市",
    "51": "四川省",
    "52": "贵州省",
    "53": "云南省",
    "54": "西藏自治区",
    "61": "陕西省",
    "62": "甘肃省",
    "63": "青海省",
    "64": "宁夏回族自治区",
    "65": "新疆维吾尔自治区",
    "71": "台湾省",
    "81": "香港特别行政区",
    "82": "澳门特别行政区",
}
_CODE: Final = re.compile(r"[0-9]{6}")


def region_faults(province: str, city: str | None, district: str | None) -> dict[str, str]:
    """What is wrong with the codes of a place, by level; empty when nothing is.

    city, district: None where a place has none, as in Hong Kong.
    """
    faults = {}
    if not _CODE.fullmatch(province) or province[:2] not in PROVINCES or province[2:] != "0000":
        faults["province"] = "is no province by GB/T 2260, such as 310000"
    if city is not None and not (_CODE.fullmatch(city) and city[:2] == province[:2] and city[2:] != "0000"):
        faults["city"] = "must be six digits that begin with the two of its province, such as 310100"
    if district is not None and (fault := _district_fault(province, city, district)):
        faults["district"] = fault
    return faults


def _district_fault(province: str, city: str | None, district: str) -> str | None:
    if city is None:
        return "needs the city that it belongs to"
    if not _CODE.fullmatch(district) or district[:2] != province[:2]:
        return "must be six digits that begin with the two of its province, such as 310115"
    if district[:4] != city[:4]:
        return "must begin with the four digits of its city, such as 310115 in 310100"
    return None
