-- Finding what is sealed with which key, so that it can be sealed again with a new one.

-- The number of the key with which the data of a row's restricted values are sealed, all of them with one: the first
-- octet of the first one's data, which stand behind its head (18 octets, the last four the length of its type), its
-- type and the length of its data. 0 for a row that is cut short. Not STRICT, or it would not be inlined: a tenth of
-- the time.
CREATE FUNCTION sealing_key(restricted bytea) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN length(restricted) < 18 THEN 0 ELSE get_byte(substr(restricted,
        23 + get_byte(restricted, 15) * 65536 + get_byte(restricted, 16) * 256 + get_byte(restricted, 17), 1) || '\x00',
        0) END;

-- Rows without restricted values cost nothing here.
CREATE INDEX handles_by_sealing ON handles (sealing_key(restricted_values), key) WHERE restricted_count > 0;
CREATE INDEX handle_versions_by_sealing ON handle_versions (sealing_key(restricted_values), key, version)
    WHERE restricted_count > 0;
