package modbus_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/simulator/internal/modbus"
	"github.com/fieldloom/fieldloom/simulator/signal"
)

func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// specified is the device of the examples in chapter 6 of the Application Protocol.
func specified(t testing.TB) *modbus.Memory {
	t.Helper()
	var points []modbus.Point
	bits := func(table modbus.Table, first uint16, pattern ...byte) {
		for i := range 8 * len(pattern) {
			points = append(points, modbus.Point{
				Name: fmt.Sprintf("%v%d", table, int(first)+i), Table: table, Address: first + uint16(i), Type: modbus.Bool,
				Signal: signal.Constant(signal.Bool(pattern[i/8]>>(i%8)&1 == 1)), Writable: table == modbus.Coil,
			})
		}
	}
	registers := func(table modbus.Table, first uint16, values ...uint64) {
		for i, v := range values {
			points = append(points, modbus.Point{
				Name: fmt.Sprintf("%v%d", table, int(first)+i), Table: table, Address: first + uint16(i),
				Signal: signal.Constant(signal.Uint(v)), Writable: table == modbus.Holding,
			})
		}
	}
	bits(modbus.Coil, 0x13, 0xcd, 0x6b, 0x05)
	bits(modbus.Discrete, 0xc4, 0xac, 0xdb, 0x35)
	registers(modbus.Holding, 3, 0xfe, 0x0acd, 1, 3, 0x0d, 0xff)
	registers(modbus.Holding, 0x6b, 0x022b, 0, 0x64)
	registers(modbus.Input, 8, 0x0a)
	points = append(points, modbus.Point{Name: "fixed", Table: modbus.Holding, Address: 0x90, Signal: signal.Constant(signal.Uint(7))})
	l, err := modbus.NewLayout(points, map[modbus.Table][]modbus.Range{
		modbus.Coil:    {{First: 0, Last: 0xff}},
		modbus.Holding: {{First: 0, Last: 0x1ff}},
	}, map[modbus.Table][]uint16{modbus.Holding: {0x80}})
	if err != nil {
		t.Fatal(err)
	}
	return modbus.NewMemory(l)
}

// The examples of the MODBUS Application Protocol V1.1b3, and the steps of its state diagrams.
func TestServeAsSpecified(t *testing.T) {
	for _, c := range []struct{ clause, request, answer string }{
		{"6.1 read coils 20-38", "01 0013 0013", "01 03 cd6b05"},
		{"6.2 read discrete inputs 197-218", "02 00c4 0016", "02 03 acdb35"},
		{"6.3 read registers 108-110", "03 006b 0003", "03 06 022b 0000 0064"},
		{"6.4 read input register 9", "04 0008 0001", "04 02 000a"},
		{"6.5 write coil 173 on", "05 00ac ff00", "05 00ac ff00"},
		{"6.6 write register 2", "06 0001 0003", "06 0001 0003"},
		{"6.11 write coils 20-29", "0f 0013 000a 02 cd01", "0f 0013 000a"},
		{"6.12 write registers 2-3", "10 0001 0002 04 000a 0102", "10 0001 0002"},
		{"6.16 mask register 5", "16 0004 00f2 0025", "16 0004 00f2 0025"},
		{"6.17 read 4-9, write 15-17", "17 0003 0006 000e 0003 06 00ff 00ff 00ff", "17 0c 00fe 0acd 0001 0003 000d 00ff"},

		{"6.1 a quantity of 0", "01 0013 0000", "81 03"},
		{"6.1 a quantity of 2001", "01 0000 07d1", "81 03"},
		{"6.2 outside", "02 00c3 0001", "82 02"},
		{"6.3 a quantity of 0", "03 0000 0000", "83 03"},
		{"6.3 a quantity of 126", "03 0000 007e", "83 03"},
		{"6.3 the quantity before the address", "03 ffff 0000", "83 03"},
		{"6.3 beyond the range", "03 01ff 0002", "83 02"},
		{"6.3 beyond 65535", "03 ffff 0002", "83 02"},
		{"6.3 touches an illegal address", "03 007f 0002", "83 02"},
		{"6.3 ends before an illegal address", "03 007f 0001", "03 02 0000"},
		{"6.3 begins after an illegal address", "03 0081 0001", "03 02 0000"},
		{"6.3 too short", "03 0000", "83 03"},
		{"6.3 too long", "03 0000 0001 00", "83 03"},
		{"6.4 nothing there", "04 0007 0001", "84 02"},
		{"6.5 neither on nor off", "05 00ac 0001", "85 03"},
		{"6.5 outside", "05 0100 ff00", "85 02"},
		{"6.6 not writable", "06 0090 0001", "86 02"},
		{"6.6 illegal", "06 0080 0001", "86 02"},
		{"6.11 a byte count that does not fit", "0f 0013 000a 01 cd", "8f 03"},
		{"6.11 a quantity of 1969", "0f 0000 07b1 f7" + strings.Repeat("00", 247), "8f 03"},
		{"6.12 a byte count that does not fit", "10 0001 0002 03 000a01", "90 03"},
		{"6.12 fewer bytes than counted", "10 0001 0002 04 000a 01", "90 03"},
		{"6.12 a quantity of 124", "10 0000 007c f8" + strings.Repeat("00", 248), "90 03"},
		{"6.12 one of two not writable", "10 008f 0002 04 0001 0001", "90 02"},
		{"6.16 outside", "16 0200 00f2 0025", "96 02"},
		{"6.16 too short", "16 0004 00f2", "96 03"},
		{"6.17 a quantity of 122 to write", "17 0000 0001 0000 007a f4" + strings.Repeat("00", 244), "97 03"},
		{"6.17 to read outside", "17 01ff 0002 0000 0001 02 0001", "97 02"},
		{"7 no such function", "09 0000 0000", "89 01"},
		{"6.7", "07", "07 00"},
		{"6.8 returns what came", "08 0000 a537", "08 0000 a537"},
		{"6.8 a counter", "08 000b 0000", "08 000b 0000"},
		{"6.8 no such sub-function", "08 0030 0000", "88 01"},
		{"6.9", "0b", "0b 0000 0000"},
		{"6.13", "11", "11 0a 73696d756c61746f72 ff"},
		{"6.14", "14 07 06 0001 0002 0002", "14 06 05 06 2712 2713"},
		{"6.14 no file", "14 07 06 0000 0002 0002", "94 02"},
		{"6.14 not as long as it says", "14 08 06 0001 0002 0002", "94 03"},
		{"6.15", "15 09 06 0001 0002 0001 abcd", "15 09 06 0001 0002 0001 abcd"},
		{"6.15 too short", "15 07 06 0001 0002 0001", "95 03"},
		{"6.21 basic", "2b 0e 01 00", "2b 0e 01 81 00 00 03 00 09 4669656c646c6f6f6d 01 09 73696d756c61746f72 02 03 312e30"},
		{"6.21 one object", "2b 0e 04 02", "2b 0e 04 81 00 00 01 02 03 312e30"},
		{"6.21 no such object", "2b 0e 04 07", "ab 02"},
		{"6.21 another interface", "2b 0d 01 00", "ab 01"},
	} {
		t.Run(c.clause, func(t *testing.T) {
			got, res := specified(t).Serve(nil, bytesOf(t, c.request), modbus.Instant{}, 0)
			if diff := cmp.Diff(bytesOf(t, c.answer), got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if (res.Exception != 0) != (got[0]&0x80 != 0) {
				t.Errorf("result %+v of answer % x", res, got)
			}
		})
	}
}

// What was written is read, and nothing else changes.
func TestWritesStay(t *testing.T) {
	m := specified(t)
	for _, c := range []struct{ what, request, answer string }{
		{"coils", "0f 0013 000a 02 cd01", "0f 0013 000a"},
		{"read coils", "01 0012 000c", "01 02 9a03"},
		{"coil off", "05 0013 0000", "05 0013 0000"},
		{"read a coil", "01 0013 0001", "01 01 00"},
		{"set register 5 to 12 hex", "06 0004 0012", "06 0004 0012"},
		{"mask, 6.16", "16 0004 00f2 0025", "16 0004 00f2 0025"},
		{"17 hex, and its neighbours", "03 0003 0003", "03 06 00fe 0017 0001"},
		{"write before read, 6.17", "17 0010 0002 0010 0001 02 beef", "17 04 beef 0000"},
		{"a refused write", "10 008f 0002 04 0001 0001", "90 02"},
		{"wrote nothing", "03 008f 0002", "03 04 0000 0007"},
	} {
		got, _ := m.Serve(nil, bytesOf(t, c.request), modbus.Instant{}, 0)
		if !bytes.Equal(got, bytesOf(t, c.answer)) {
			t.Errorf("%s: % x, want %s", c.what, got, c.answer)
		}
	}
}

// One value of each type in each order, as bytes written down by hand.
func TestTypesAndOrders(t *testing.T) {
	type form struct{ abcd, cdab, badc, dcba string }
	for _, c := range []struct {
		typ    modbus.Type
		length int
		value  any
		want   form
	}{
		{modbus.Uint16, 0, uint64(0x1234), form{"1234", "1234", "3412", "3412"}},
		{modbus.Int16, 0, int64(-2), form{"fffe", "fffe", "feff", "feff"}},
		{modbus.Uint32, 0, uint64(0x12345678), form{"12345678", "56781234", "34127856", "78563412"}},
		{modbus.Int32, 0, int64(-2), form{"fffffffe", "fffeffff", "fffffeff", "feffffff"}},
		{modbus.Float32, 0, float64(float32(123.456)), form{"42f6e979", "e97942f6", "f64279e9", "79e9f642"}},
		{modbus.Uint64, 0, uint64(0x0123456789abcdef), form{"0123456789abcdef", "cdef89ab45670123", "23016745ab89efcd", "efcdab8967452301"}},
		{modbus.Int64, 0, int64(-3), form{"fffffffffffffffd", "fffdffffffffffff", "fffffffffffffdff", "fdffffffffffffff"}},
		{modbus.Float64, 0, -2.5, form{"c004000000000000", "000000000000c004", "04c0000000000000", "00000000000004c0"}},
		{modbus.Bool, 0, true, form{"0001", "0001", "0100", "0100"}},
		{modbus.String, 5, "hello", form{"68656c6c6f00", "68656c6c6f00", "65686c6c006f", "65686c6c006f"}},
	} {
		for order, want := range []string{c.want.abcd, c.want.cdab, c.want.badc, c.want.dcba} {
			v, err := signal.Of(c.value)
			if err != nil {
				t.Fatal(err)
			}
			p := modbus.Point{Name: "p", Table: modbus.Holding, Address: 10, Type: c.typ, Order: modbus.Order(order), Length: c.length, Signal: signal.Constant(v), Writable: true}
			l, err := modbus.NewLayout([]modbus.Point{p}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			m, name := modbus.NewMemory(l), fmt.Sprintf("%s %s", modbus.Types()[c.typ], modbus.Orders()[order])
			n := len(want) / 4
			read := bytesOf(t, fmt.Sprintf("03 000a %04x", n))
			got, _ := m.Serve(nil, read, modbus.Instant{}, 0)
			if w := fmt.Sprintf("03%02x%s", 2*n, want); hex.EncodeToString(got) != w {
				t.Errorf("%s: read %x, want %s", name, got, w)
			}
			m.Set(0, signal.Uint(0), modbus.Instant{})
			m.Serve(nil, bytesOf(t, fmt.Sprintf("10 000a %04x %02x %s", n, 2*n, want)), modbus.Instant{}, 0)
			if diff := cmp.Diff(c.value, m.Get(0, modbus.Instant{}).Any()); diff != "" {
				t.Errorf("%s: written and read (-want +got):\n%s", name, diff)
			}
		}
	}
}

// A block that begins or ends inside of a value gets its part of it.
func TestPartsOfValues(t *testing.T) {
	points := []modbus.Point{
		{Name: "a", Table: modbus.Holding, Address: 1, Type: modbus.Uint64, Signal: signal.Constant(signal.Uint(0x0001000200030004)), Writable: true},
		{Name: "slot", Table: modbus.Holding, Address: 6, Type: modbus.Uint32, Signal: signal.Slot()},
	}
	l, err := modbus.NewLayout(points, map[modbus.Table][]modbus.Range{modbus.Holding: {{First: 0, Last: 8}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := modbus.NewMemory(l)
	at := modbus.Instant{Slot: 0x00070008}
	for _, c := range []struct {
		request, answer string
		slot            bool
	}{
		{"03 0000 0009", "03 12 0000 0001 0002 0003 0004 0000 0007 0008 0000", true},
		{"03 0002 0002", "03 04 0002 0003", false},
		{"03 0003 0004", "03 08 0003 0004 0000 0005", false},
		{"03 0007 0001", "03 02 0006", false},
		{"03 0006 0002", "03 04 0007 0008", true},
		{"06 0002 00aa", "06 0002 00aa", false},
		{"03 0001 0004", "03 08 0001 00aa 0003 0004", false},
	} {
		got, res := m.Serve(nil, bytesOf(t, c.request), at, 0x00050006)
		if !bytes.Equal(got, bytesOf(t, c.answer)) || res.Slot != c.slot {
			t.Errorf("%s: % x slot %t, want %s slot %t", c.request, got, res.Slot, c.answer, c.slot)
		}
	}
}

func TestLayoutRefuses(t *testing.T) {
	point := func(name string, address uint16, typ modbus.Type) modbus.Point {
		return modbus.Point{Name: name, Table: modbus.Holding, Address: address, Type: typ}
	}
	slot := modbus.Point{Name: "s", Table: modbus.Holding, Address: 100, Type: modbus.Uint32, Signal: signal.Slot()}
	other := slot
	other.Name, other.Address = "s2", 102
	writable := slot
	writable.Writable = true
	for name, points := range map[string][]modbus.Point{
		"overlap":       {point("a", 0, modbus.Uint32), point("b", 1, modbus.Uint16)},
		"same name":     {point("a", 0, modbus.Uint16), point("a", 1, modbus.Uint16)},
		"beyond 65535":  {point("a", 65535, modbus.Uint32)},
		"no length":     {point("a", 0, modbus.String)},
		"two slots":     {slot, other},
		"writable slot": {writable},
		"float coil":    {{Name: "c", Table: modbus.Coil, Type: modbus.Float32}},
		"unknown type":  {point("a", 0, 99)},
		"outside":       {point("a", 5, modbus.Uint16)},
	} {
		var ranges map[modbus.Table][]modbus.Range
		if name == "outside" {
			ranges = map[modbus.Table][]modbus.Range{modbus.Holding: {{First: 0, Last: 4}}}
		}
		if _, err := modbus.NewLayout(points, ranges, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestServeAllocatesNothing(t *testing.T) {
	m, out := specified(t), make([]byte, 0, 300)
	request := bytesOf(t, "03 0003 0064")
	if n := testing.AllocsPerRun(100, func() { m.Serve(out, request, modbus.Instant{}, 0) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
