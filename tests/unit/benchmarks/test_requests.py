"""What is asked: requests whose numbers and ids stand where the generator patches them."""

from benchmarks.load.requests import dns_requests, handle_requests, http_requests, parse_names, shuffled
from benchmarks.record import PREFIX, RECORD_OCTETS, prefix_records, record, txt_data, udp_site
from protocol.bodies import ResolutionRequest
from protocol.codes import OpFlag
from protocol.message import decode_message
from protocol.site import Site


def patched(template: bytes, at: int, octets: bytes) -> bytes:
    return template[:at] + octets + template[at + len(octets) :]


def test_a_pattern_ends_in_as_many_digits_as_it_has_signs() -> None:
    names = parse_names("88.1/PUMP-####", shuffled(10))

    assert names.name(7) == "88.1/PUMP-0007"
    assert parse_names("88.1/pump", [0]).name(7) == "88.1/pump"


def test_every_number_comes_once_and_in_the_same_order_in_every_run() -> None:
    numbers = shuffled(1_000, first=5)

    assert sorted(numbers) == list(range(5, 1_005))
    assert numbers == shuffled(1_000, first=5)
    assert list(numbers) != sorted(numbers)


def test_a_patched_request_resolves_the_numbered_name() -> None:
    requests = handle_requests(parse_names("88.1/PUMP-####", shuffled(10)), keep_alive=True)
    octets = patched(requests.template, requests.number_at, b"0042")
    octets = patched(octets, requests.id_at, (77).to_bytes(4, "big"))

    message = decode_message(octets)

    assert message.envelope.request_id == 77
    assert message.has(OpFlag.KPAL)
    assert str(ResolutionRequest.decode(message.body).handle) == "88.1/PUMP-0042"
    echo = octets[requests.echo_at : requests.echo_at + requests.echo_octets]
    assert echo == b"\0\0\0\x0e88.1/PUMP-0042"


def test_a_patched_question_names_the_numbered_host() -> None:
    requests = dns_requests(shuffled(10))

    octets = patched(requests.template, requests.number_at, b"000000042")

    assert b"\x0an000000042\x05bench\x07example\0\0\x10\0\1" in octets


def test_a_patched_get_names_the_numbered_path() -> None:
    requests = http_requests("/api/handles/", parse_names("88.1/PUMP-####", shuffled(10)), name_at=30)

    octets = patched(requests.template, requests.number_at, b"0042")

    assert octets.startswith(b"GET /api/handles/88.1/PUMP-0042 HTTP/1.1\r\n")
    assert octets[requests.echo_at : requests.echo_at + requests.echo_octets] == b"88.1/PUMP-0042"


def test_records_of_both_protocols_are_as_large_as_said() -> None:
    assert len(record().octets) == RECORD_OCTETS
    assert len(txt_data()) == RECORD_OCTETS


def test_one_site_serves_every_prefix_above_the_names() -> None:
    site = udp_site("127.0.0.1", 2641)

    records = prefix_records(site)

    assert f"0.NA/{PREFIX}".encode() in records
    assert all(Site.decode(value.data) == site for values in records.values() for value in values)
