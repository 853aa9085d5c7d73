package modbus_test

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	yes = driver.BoolValue(true)
	no  = driver.BoolValue(false)
)

func u64(n uint64) driver.Value { return driver.Uint64Value(n) }

// The examples of the specification, read: what is asked, what is answered, and
// what that means.
func TestReadFrames(t *testing.T) {
	tests := []struct {
		name, answers, asks string
		addresses           []string
		want                []driver.Value
	}{
		{
			"clause 6.1, read coils 20-38", "01 03 CD 6B 05", "01 00 13 00 13",
			[]string{"00020", "00021", "00022", "00027", "00028", "00035", "00036", "00037", "00038"},
			[]driver.Value{yes, no, yes, yes, yes, no, yes, no, yes},
		},
		{
			"clause 6.2, read discrete inputs 197-218", "02 03 AC DB 35", "02 00 C4 00 16",
			[]string{"10197", "10198", "10199", "10204", "10205", "10217", "10218"},
			[]driver.Value{no, no, yes, yes, yes, yes, yes},
		},
		{
			"clause 6.3, read holding registers 108-110", "03 06 02 2B 00 00 00 64", "03 00 6B 00 03",
			[]string{"40108", "40109", "40110"},
			[]driver.Value{u64(555), u64(0), u64(100)},
		},
		{
			"clause 6.4, read input register 9", "04 02 00 0A", "04 00 08 00 01",
			[]string{"30009:int16"},
			[]driver.Value{driver.Int64Value(10)},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer()
			s.answer = func(adu []byte) [][]byte { return [][]byte{frame(adu, unhex(t, test.answers))} }
			u := newRig(t, s, "").mustUnit(`{"gap":100}`, test.addresses...)
			var got []driver.Value
			for _, sample := range u.mustPoll() {
				if sample.Quality != driver.Good || sample.Fault != nil {
					t.Errorf("sample %+v is not good", sample)
				}
				got = append(got, sample.Value)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(unhex(t, test.asks), s.lastPDU()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteFrames(t *testing.T) {
	tests := []struct {
		name, settings, address string
		value                   driver.Value
		asks, answers           string
	}{
		{"clause 6.5, write coil 173 on", "", "00173", yes, "05 00 AC FF 00", "05 00 AC FF 00"},
		{"clause 6.5, write coil 173 off", "", "00173", u64(0), "05 00 AC 00 00", "05 00 AC 00 00"},
		{"clause 6.6, write register 2", "", "40002", u64(3), "06 00 01 00 03", "06 00 01 00 03"},
		{"clause 6.11, write one of many coils", `{"write_coil":"fc15"}`, "00020", yes, "0F 00 13 00 01 01 01", "0F 00 13 00 01"},
		{"clause 6.11, write one of many coils off", `{"write_coil":"fc15"}`, "00020", no, "0F 00 13 00 01 01 00", "0F 00 13 00 01"},
		{"clause 6.12, write registers 2 and 3", "", "40002:uint32", u64(0x000A0102), "10 00 01 00 02 04 00 0A 01 02", "10 00 01 00 02"},
		{"clause 6.12, one register by choice", `{"write":"fc16"}`, "40002", u64(3), "10 00 01 00 01 02 00 03", "10 00 01 00 01"},
		{"clause 6.16, set bit 4 of register 5", "", "40005.4", yes, "16 00 04 FF EF 00 10", "16 00 04 FF EF 00 10"},
		{"clause 6.16, clear bit 4 of register 5", "", "40005.4", no, "16 00 04 FF EF 00 00", "16 00 04 FF EF 00 00"},
		{"bit 4 with the bytes swapped is bit 12", `{"order":"badc"}`, "40005.4", yes, "16 00 04 EF FF 10 00", "16 00 04 EF FF 10 00"},
		{"clause 6.16, bits 4 to 6 of register 5", "", "40005.4-6", u64(5), "16 00 04 FF 8F 00 50", "16 00 04 FF 8F 00 50"},
		{"bits 4 to 6, signed", "", "40005.4-6:int", driver.Int64Value(-1), "16 00 04 FF 8F 00 70", "16 00 04 FF 8F 00 70"},
		{"the upper byte", "", "40005:int8h", driver.Int64Value(-5), "16 00 04 00 FF FB 00", "16 00 04 00 FF FB 00"},
		{"the upper byte with the bytes swapped", `{"order":"badc"}`, "40005:uint8h", u64(7), "16 00 04 FF 00 00 07", "16 00 04 FF 00 00 07"},
		{"an odd string is filled up", "", "holding:0:string:3", driver.StringValue("ab"), "10 00 00 00 02 04 61 62 00 00", "10 00 00 00 02"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer()
			s.answer = func(adu []byte) [][]byte { return [][]byte{frame(adu, unhex(t, test.answers))} }
			u := newRig(t, s, "").mustUnit(test.settings, test.address)
			if err := u.write(0, test.value); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(unhex(t, test.asks), s.lastPDU()); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// codecTests hold registers as they are on the wire. Clause 4.2: a register is
// sent with its upper byte first.
var codecTests = []struct {
	address, registers string
	value              driver.Value
}{
	{"holding:0:int16", "FF FE", driver.Int64Value(-2)},
	{"holding:0:int16:badc", "FE FF", driver.Int64Value(-2)},
	{"holding:0:int16:cdab", "FF FE", driver.Int64Value(-2)},
	{"holding:0:uint16", "12 34", u64(0x1234)},
	{"holding:0:uint16:dcba", "34 12", u64(0x1234)},
	{"holding:0:bool", "00 01", yes},
	{"holding:0:bool:badc", "01 00", yes},
	{"holding:0:int32", "80 00 00 01", driver.Int64Value(math.MinInt32 + 1)},
	{"holding:0:int32:dcba", "01 00 00 80", driver.Int64Value(math.MinInt32 + 1)},
	{"holding:0:uint32:abcd", "0A 0B 0C 0D", u64(0x0A0B0C0D)},
	{"holding:0:uint32:cdab", "0C 0D 0A 0B", u64(0x0A0B0C0D)},
	{"holding:0:uint32:badc", "0B 0A 0D 0C", u64(0x0A0B0C0D)},
	{"holding:0:uint32:dcba", "0D 0C 0B 0A", u64(0x0A0B0C0D)},
	{"holding:0:float32:abcd", "41 45 70 A4", driver.Float32Value(12.34)},
	{"holding:0:float32:cdab", "70 A4 41 45", driver.Float32Value(12.34)},
	{"holding:0:float32:badc", "45 41 A4 70", driver.Float32Value(12.34)},
	{"holding:0:float32:dcba", "A4 70 45 41", driver.Float32Value(12.34)},
	{"holding:0:int64:abcd", "FF FF FF FF FF FF FF FE", driver.Int64Value(-2)},
	{"holding:0:uint64:abcd", "01 02 03 04 05 06 07 08", u64(0x0102030405060708)},
	{"holding:0:uint64:cdab", "07 08 05 06 03 04 01 02", u64(0x0102030405060708)},
	{"holding:0:uint64:badc", "02 01 04 03 06 05 08 07", u64(0x0102030405060708)},
	{"holding:0:uint64:dcba", "08 07 06 05 04 03 02 01", u64(0x0102030405060708)},
	{"holding:0:float64:abcd", "40 09 21 FB 54 44 2D 18", driver.Float64Value(math.Pi)},
	{"holding:0:float64:cdab", "2D 18 54 44 21 FB 40 09", driver.Float64Value(math.Pi)},
	{"holding:0:float64:dcba", "18 2D 44 54 FB 21 09 40", driver.Float64Value(math.Pi)},
	{"holding:0:string:6", "61 62 63 64 00 00", driver.StringValue("abcd")},
	{"holding:0:string:4:cdab", "61 62 63 64", driver.StringValue("abcd")},
	{"holding:0:string:5:badc", "62 61 64 63 00 65", driver.StringValue("abcde")},
	{"holding:0:string:4:dcba", "C3 61 62 A4", driver.StringValue("a\u00e4b")},
	{"holding:0:bytes:4", "00 FF 00 01", driver.BytesValue([]byte{0, 0xFF, 0, 1})},
	{"holding:0:bytes:3:badc", "FF 00 00 01", driver.BytesValue([]byte{0, 0xFF, 1})},
	{"holding:0:int24", "FF 80 00 01", driver.Int64Value(-8388607)},
	{"holding:0:uint24:cdab", "34 56 00 12", u64(0x123456)},
	{"holding:0:int48", "FF FF FF FF FF FE", driver.Int64Value(-2)},
	{"holding:0:uint48", "01 02 03 04 05 06", u64(0x010203040506)},
	{"holding:0:uint48:cdab", "05 06 03 04 01 02", u64(0x010203040506)},
	{"holding:0:uint48:badc", "02 01 04 03 06 05", u64(0x010203040506)},
	{"holding:0:uint48:dcba", "06 05 04 03 02 01", u64(0x010203040506)},
	{"holding:0:bcd16", "12 34", u64(1234)},
	{"holding:0:bcd16:badc", "34 12", u64(1234)},
	{"holding:0:bcd32", "98 76 54 32", u64(98765432)},
	{"holding:0:bcd32:cdab", "54 32 98 76", u64(98765432)},
	{"holding:0:bcd32:dcba", "32 54 76 98", u64(98765432)},
	{"holding:0:epoch32", "65 53 F1 00", driver.StringValue("2023-11-14T22:13:20Z")}, // 1,700,000,000
	{"holding:0:epoch32:cdab", "F1 00 65 53", driver.StringValue("2023-11-14T22:13:20Z")},
	{"holding:0:epoch32", "FF FF FF FF", driver.StringValue("2106-02-07T06:28:15Z")},
	{"holding:0:epoch64", "00 00 00 00 65 53 F1 00", driver.StringValue("2023-11-14T22:13:20Z")},
	{"holding:0:epoch64", "FF FF FF FF FF FF FF FF", driver.StringValue("1969-12-31T23:59:59Z")},
	{"holding:0:epoch64ms", "00 00 01 8B CF E5 68 7D", driver.StringValue("2023-11-14T22:13:20.125Z")},
	// IEC 60870-5-101, clause 7.2.6.18: 26123 ms are 660B, minute 54 is 36, and so on.
	{"holding:0:cp56", "00 1A 0C 01 06 36 66 0B", driver.StringValue("2026-12-01T06:54:26.123")},
	{"holding:0:cp56:dcba", "0B 66 36 06 01 0C 1A 00", driver.StringValue("2026-12-01T06:54:26.123")},
	{"holding:0:cp56:cdab", "66 0B 06 36 0C 01 00 1A", driver.StringValue("2026-12-01T06:54:26.123")},
	{"holding:0:cp56:badc", "1A 00 01 0C 36 06 0B 66", driver.StringValue("2026-12-01T06:54:26.123")},
	{"holding:0:ascii:4", "61 62 63 00", driver.StringValue("abc")},
	{"holding:0:latin1:4", "B0 43 E4 00", driver.StringValue("\u00b0C\u00e4")},
	{"holding:0:latin1:4:badc", "43 B0 00 E4", driver.StringValue("\u00b0C\u00e4")},
}
