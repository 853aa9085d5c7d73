package modbus

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/goburrow/modbus"
)

// An exchange is a request and its answer, as PDUs.
type exchange struct{ name, request, answer string }

// exchanges are the examples of the specification (V1.1b3, clauses 6.1 to 6.21, and 7).
var exchanges = []exchange{
	{"6.1 read coils", "01 0013 0013", "01 03 CD6B05"},
	{"6.2 read discrete inputs", "02 00C4 0016", "02 03 ACDB35"},
	{"6.3 read holding registers", "03 006B 0003", "03 06 022B 0000 0064"},
	{"6.4 read input registers", "04 0008 0001", "04 02 000A"},
	{"6.5 write single coil", "05 00AC FF00", "05 00AC FF00"},
	{"6.6 write single register", "06 0001 0003", "06 0001 0003"},
	{"6.7 read exception status", "07", "07 6D"},
	{"6.8 diagnostics", "08 0000 A537", "08 0000 A537"},
	{"6.9 event counter", "0B", "0B FFFF 0108"},
	{"6.11 write coils", "0F 0013 000A 02 CD01", "0F 0013 000A"},
	{"6.12 write registers", "10 0001 0002 04 000A 0102", "10 0001 0002"},
	{"6.13 report server id", "11", "11 03 55 FF 01"},
	{"6.14 read file record", "14 0E 06 0004 0001 0002 06 0003 0009 0002", "14 0C 05 06 0DFE 0020 05 06 33CD 0040"},
	{"6.15 write file record", "15 0D 06 0004 0007 0003 06AF 04BE 100D", "15 0D 06 0004 0007 0003 06AF 04BE 100D"},
	{"6.16 mask write", "16 0004 00F2 0025", "16 0004 00F2 0025"},
	{"6.17 read and write", "17 0003 0006 000E 0003 06 00FF00FF00FF", "17 0C 00FE 0ACD 0001 0003 000D 00FF"},
	{"6.18 read FIFO queue", "18 04DE", "18 0006 0002 01B8 1284"},
	{"6.21 read device identification", "2B 0E 01 00", "2B 0E 01 01 00 00 02 00 03 41424D 01 02 5632"},
	{"7 exception", "01 04A1 0001", "81 02"},
	{"7 exception of a write", "10 0001 0002 04 000A 0102", "90 03"},
}

func pduOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encode makes a frame of a PDU as the packagers do.
func encode(t testing.TB, f framing, unit byte, pdu []byte) []byte {
	t.Helper()
	adu, err := f.packager(unit).Encode(&modbus.ProtocolDataUnit{FunctionCode: pdu[0], Data: pdu[1:]})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(adu)
}

// lines are the framings of a serial line, strict, without an echo known.
func lines() map[string]framing {
	return map[string]framing{"rtu": rtu{echo: newEcho(false, false)}, "ascii": ascii{echo: newEcho(false, false)}}
}

// TestChecksums pins the examples of Modbus over Serial Line V1.02 (clause 6.2.2) and of the
// protocol guide for the LRC.
func TestChecksums(t *testing.T) {
	if got := fmt.Sprintf("% X", encode(t, rtu{}, 2, []byte{7})); got != "02 07 41 12" {
		t.Errorf("a frame with its CRC: %s", got)
	}
	if got := string(encode(t, ascii{}, 0xF7, []byte{3, 0x13, 0x89, 0, 0x0A})); got != ":F7031389000A60\r\n" {
		t.Errorf("a frame with its LRC: %q", got)
	}
	if got := fmt.Sprintf("% X", encode(t, mbap{}, 0x11, []byte{3, 0, 0x6B, 0, 3})); !strings.HasSuffix(got, "00 00 00 06 11 03 00 6B 00 03") {
		t.Errorf("a frame with its header: %s", got)
	}
}

// TestExchanges finds each answer of the specification: when it is whole and not before, alone,
// behind noise, behind an echo, and with something behind it.
func TestExchanges(t *testing.T) {
	for name, f := range lines() {
		for _, e := range exchanges {
			asked, answer := encode(t, f, 17, pduOf(t, e.request)), encode(t, f, 17, pduOf(t, e.answer))
			for n := range answer {
				if _, size, err := f.next(answer[:n], asked); size != 0 || err != nil {
					t.Errorf("%s %s: found in the first %d of %d bytes", name, e.name, n, len(answer))
				}
			}
			another := encode(t, f, 18, pduOf(t, e.answer))
			for what, before := range map[string][]byte{
				"alone": nil, "behind noise": {0, 0xFF, 17, 0x80}, "behind another unit's": another,
				"behind half of itself": answer[:len(answer)-3],
			} {
				b := slices.Concat(before, answer)
				skip, size, err := f.next(append(b, 0, 0), asked)
				if skip != len(before) || size != len(answer) || err != nil {
					t.Errorf("%s %s %s: %d+%d, %v; want %d+%d in % X", name, e.name, what, skip, size, err, len(before), len(answer), b)
				}
			}
		}
	}
}

// TestEcho tells an echo from the answer, where the two look the same as well.
func TestEcho(t *testing.T) {
	read, write := exchanges[2], exchanges[5]
	for name, make := range map[string]func(e echo) framing{
		"rtu": func(e echo) framing { return rtu{echo: e} }, "ascii": func(e echo) framing { return ascii{echo: e} },
	} {
		e := newEcho(true, false)
		f := make(e)
		asked, answer := encode(t, f, 1, pduOf(t, write.request)), encode(t, f, 1, pduOf(t, write.answer))
		if _, size, _ := f.next(asked, asked); size != 0 {
			t.Errorf("%s: what may be an echo is the answer already", name)
		}
		if skip, size := f.last(asked, asked); skip != 0 || size != len(answer) || e.heard.Load() != echoUnknown {
			t.Errorf("%s: where nothing follows, %d+%d is the answer; learned %d", name, skip, size, e.heard.Load())
		}
		if skip, size, _ := f.next(slices.Concat(asked, answer), asked); skip != len(asked) || size != len(answer) || e.heard.Load() != echoHeard {
			t.Errorf("%s: the second is the answer: %d+%d; learned %d", name, skip, size, e.heard.Load())
		}
		if _, size, _ := f.next(asked, asked); size != 0 {
			t.Errorf("%s: an echo is the answer where one is known to be", name)
		}
		if _, size := f.last(asked, asked); size != 0 {
			t.Errorf("%s: an echo is the answer in the end where one is known to be", name)
		}
		if skip, size, _ := f.next(slices.Concat([]byte{0}, asked, answer), asked); skip != len(asked)+1 || size != len(answer) {
			t.Errorf("%s: behind noise and the echo: %d+%d", name, skip, size)
		}
		asking, read1 := encode(t, f, 1, pduOf(t, read.request)), encode(t, f, 1, pduOf(t, read.answer))
		if skip, size, _ := f.next(read1, asking); skip != 0 || size != len(read1) || e.heard.Load() != echoNone {
			t.Errorf("%s: a read without an echo: %d+%d; learned %d", name, skip, size, e.heard.Load())
		}
		if skip, size, _ := f.next(asked, asked); skip != 0 || size != len(answer) {
			t.Errorf("%s: without an echo the answer is the first: %d+%d", name, skip, size)
		}
		if _, size, _ := f.next(asking, asking); size != 0 || e.heard.Load() != echoHeard {
			t.Errorf("%s: the echo of a read that nobody answers taught %d", name, e.heard.Load())
		}
		sure := make(newEcho(false, true))
		damaged := slices.Clone(asked)
		damaged[2] ^= 1
		for _, heard := range [][]byte{asked, damaged} {
			if _, size, _ := sure.next(heard, asked); size != 0 {
				t.Errorf("%s: an echo is the answer although there is one by the settings", name)
			}
			if skip, size, _ := sure.next(slices.Concat(heard, answer), asked); skip != len(heard) || size != len(answer) {
				t.Errorf("%s: behind an echo by the settings: %d+%d", name, skip, size)
			}
		}
		if skip, size, _ := make(newEcho(false, false)).next(asked, asked); skip != 0 || size != len(answer) {
			t.Errorf("%s: without an echo by the settings: %d+%d", name, skip, size)
		}
	}
}

// TestDamage flips every bit of every answer: none is taken with another content.
func TestDamage(t *testing.T) {
	for name, f := range lines() {
		for _, e := range exchanges {
			asked, answer := encode(t, f, 17, pduOf(t, e.request)), encode(t, f, 17, pduOf(t, e.answer))
			for bit := range 8 * len(answer) {
				b := slices.Clone(answer)
				b[bit/8] ^= 1 << (bit % 8)
				if skip, size, _ := f.next(b, asked); size != 0 && !bytes.EqualFold(b[skip:skip+size], answer) {
					t.Errorf("%s %s: %q is taken for %q", name, e.name, b, answer)
				}
			}
		}
	}
}

// TestStranger names the unit that answers for another.
func TestStranger(t *testing.T) {
	for name, f := range lines() {
		asked := encode(t, f, 19, pduOf(t, "03 0000 0001"))
		for text, want := range map[string]int{"03 02 0007": 5, "83 02": 5, "03 04 00000000": -1, "04 02 0007": -1} {
			b := slices.Concat([]byte{1, 2}, encode(t, f, 5, pduOf(t, text)))
			if _, size, _ := f.next(b, asked); size != 0 {
				t.Errorf("%s: unit 5 answers for 19 by %s", name, text)
			}
			if unit, ok := f.stranger(b, asked); ok != (want >= 0) || ok && int(unit) != want {
				t.Errorf("%s: %s is of %d, %v", name, text, unit, ok)
			}
		}
	}
	if _, ok := (rtu{}).stranger(nil, encode(t, rtu{}, 1, pduOf(t, "07"))); ok {
		t.Error("nobody has answered")
	}
}

// TestLenient is what the settings allow, and only that.
func TestLenient(t *testing.T) {
	asked := pduOf(t, "03 006B 0002")
	for name, test := range map[string]struct {
		unit   byte
		answer string
		takes  lenience
	}{
		"another unit":   {5, "03 04 00010002", lenience{unit: true}},
		"more registers": {1, "03 06 000100020003", lenience{trailing: true}},
	} {
		for kind, f := range map[string]func(l lenience) framing{
			"rtu": func(l lenience) framing { return rtu{lenience: l} }, "ascii": func(l lenience) framing { return ascii{lenience: l} },
		} {
			answer := encode(t, f(lenience{}), test.unit, pduOf(t, test.answer))
			for _, l := range []lenience{{}, {unit: true}, {trailing: true}, {transaction: true}} {
				adu := encode(t, f(l), 1, asked)
				_, size, _ := f(l).next(answer, adu)
				if (size > 0) != (l == test.takes) {
					t.Errorf("%s: %s is taken with %+v: %v", kind, name, l, size > 0)
				}
				if size == 0 {
					continue
				}
				given := slices.Clone(answer)
				if err := f(l).check(adu, given); err != nil {
					t.Errorf("%s: %s: %v", kind, name, err)
				} else if err := f(l).packager(1).Verify(adu, given); err != nil {
					t.Errorf("%s: %s: %v", kind, name, err)
				} else if _, err := f(l).packager(1).Decode(given); err != nil {
					t.Errorf("%s: %s: %v", kind, name, err)
				}
			}
		}
	}
}

// TestTrim cuts off what follows the data of an answer over TCP, for every function.
func TestTrim(t *testing.T) {
	for _, e := range exchanges {
		asked, answer := encode(t, mbap{}, 1, pduOf(t, e.request)), encode(t, mbap{}, 1, pduOf(t, e.answer))
		copy(answer[:2], asked)
		long := append(slices.Clone(answer), 1, 2, 3)
		long[5] += 3
		if got := (mbap{}).trim(long, asked); len(got) != len(long) {
			t.Errorf("%s: the strict one trims", e.name)
		}
		if got := (mbap{lenience{trailing: true}}).trim(slices.Clone(long), asked); !bytes.Equal(got, answer) {
			t.Errorf("%s: % X, want % X", e.name, got, answer)
		}
		if got := (mbap{lenience{trailing: true}}).trim(slices.Clone(answer), asked); !bytes.Equal(got, answer) {
			t.Errorf("%s: % X, which has nothing behind it", e.name, got)
		}
	}
}
