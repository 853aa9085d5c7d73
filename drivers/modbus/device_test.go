package modbus_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fieldloom/fieldloom/core/driver"
)

var orders = []string{"abcd", "cdab", "badc", "dcba"}

// valuesOf are values of each type that no other order or type would mistake.
var valuesOf = map[string][]driver.Value{
	"bool":      {yes, no},
	"int16":     {driver.Int64Value(-12345), driver.Int64Value(math.MaxInt16), driver.Int64Value(math.MinInt16)},
	"uint16":    {u64(0x1234), u64(math.MaxUint16)},
	"int32":     {driver.Int64Value(-123456789), driver.Int64Value(math.MinInt32)},
	"uint32":    {u64(0x12345678), u64(math.MaxUint32)},
	"int64":     {driver.Int64Value(-1234567890123456789), driver.Int64Value(math.MinInt64)},
	"uint64":    {u64(0x123456789ABCDEF0), u64(math.MaxUint64)},
	"float32":   {driver.Float64Value(-1.5e-7 + 0), driver.Float64Value(math.Inf(1))},
	"float64":   {driver.Float64Value(math.Pi), driver.Float64Value(math.SmallestNonzeroFloat64)},
	"string:7":  {driver.StringValue("ab\u00e4cd"), driver.StringValue("")},
	"int8h":     {driver.Int64Value(-5), driver.Int64Value(math.MaxInt8)},
	"uint8":     {u64(7), u64(math.MaxUint8)},
	"int24":     {driver.Int64Value(-1234567), driver.Int64Value(1<<23 - 1)},
	"uint24":    {u64(0x123456)},
	"int48":     {driver.Int64Value(-1 << 47)},
	"uint48":    {u64(0x123456789ABC)},
	"bcd16":     {u64(1234), u64(9999)},
	"bcd32":     {u64(12345678)},
	"epoch32":   {driver.StringValue("2023-11-14T22:13:20Z")},
	"epoch64":   {driver.StringValue("0000-01-01T00:00:00Z"), driver.StringValue("9999-12-31T23:59:59Z")},
	"epoch64ms": {driver.StringValue("2023-11-14T22:13:20.125Z")},
	"cp56":      {driver.StringValue("2000-02-29T00:00:00"), driver.StringValue("2099-12-31T23:59:59.999")},
	"ascii:5":   {driver.StringValue("abcde")},
	"latin1:5":  {driver.StringValue("21 \u00b0C")},
	"bytes:246": {driver.BytesValue([]byte(strings.Repeat("\x00\xff\x80", 82)))},
}

func (r *rig) roundTrips(settings string) {
	r.t.Helper()
	var addresses []string
	var values [][]driver.Value
	for _, name := range sortedKeys(valuesOf) {
		for i, order := range orders {
			addresses = append(addresses, fmt.Sprintf("holding:%d:%s:%s", 1000*i, name, order))
			values = append(values, valuesOf[name])
		}
	}
	for bit := range 16 {
		addresses = append(addresses, fmt.Sprintf("holding:7.%d:%s", bit, orders[bit%4]))
		values = append(values, []driver.Value{yes, no, yes})
	}
	for i, order := range orders {
		addresses = append(addresses, "holding:8.4-6:int:"+order, fmt.Sprintf("holding:8.%d-15:%s", 3*i, order))
		values = append(values, []driver.Value{driver.Int64Value(-4), driver.Int64Value(3)}, []driver.Value{u64(9), u64(0)})
	}
	addresses = append(addresses, "coil:9")
	values = append(values, []driver.Value{yes, no})
	u := r.mustUnit(settings, addresses...)
	for i := range addresses {
		for _, v := range values[i] {
			r.roundTrip(u, i, v)
		}
	}
}

func (r *rig) roundTrip(u *unit, i int, v driver.Value) {
	r.t.Helper()
	if contains(u.points[i].Address, "float32") {
		v = driver.Float32Value(float32(v.Float64()))
	}
	if err := u.write(i, v); err != nil {
		r.t.Errorf("write %s: %v", u.points[i].Address, err)
		return
	}
	s, err := u.read(i)
	if err != nil || s.Quality != driver.Good || !s.Value.Equal(v) {
		r.t.Errorf("%s: wrote %v, read %v %v %v (%v)", u.points[i].Address, v, s.Quality, s.Value, s.Fault, err)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestRoundTrips(t *testing.T) {
	for _, settings := range []string{
		`{}`,
		`{"write":"fc6","write_coil":"fc15","write_bit":"read_modify_write"}`,
		`{"write":"fc16","write_bit":"read_modify_write"}`,
	} {
		t.Run(settings, func(t *testing.T) { newRig(t, newServer(), "").roundTrips(settings) })
	}
}

func TestBitsOfARegisterStayApart(t *testing.T) {
	s := newServer()
	s.registers[1][10] = 0xA5A5
	for _, settings := range []string{`{}`, `{"write_bit":"read_modify_write"}`} {
		u := newRig(t, s, "").mustUnit(settings, "holding:10.1")
		if err := u.write(0, yes); err != nil || s.registers[1][10] != 0xA5A7 {
			t.Errorf("%s: register is %04X (%v)", settings, s.registers[1][10], err)
		}
		if err := u.write(0, no); err != nil || s.registers[1][10] != 0xA5A5 {
			t.Errorf("%s: register is %04X (%v)", settings, s.registers[1][10], err)
		}
	}
}

func TestFieldsOfARegisterStayApart(t *testing.T) {
	s := newServer()
	for _, settings := range []string{`{}`, `{"write_bit":"read_modify_write"}`, `{"write_bit":"read_modify_write","write":"fc16"}`} {
		s.registers[1][10] = 0xA5A5
		u := newRig(t, s, "").mustUnit(settings, "holding:10.4-6:int", "holding:10:int8h", "holding:10.4-6", "holding:10.5")
		for i, w := range []struct {
			value driver.Value
			want  uint16
		}{
			{driver.Int64Value(-4), 0xA5C5},
			{driver.Int64Value(-5), 0xFBC5},
			{u64(1), 0xFB95},
			{yes, 0xFBB5},
		} {
			if err := u.write(i, w.value); err != nil || s.registers[1][10] != w.want {
				t.Errorf("%s: after %s the register is %04X, want %04X (%v)", settings, u.points[i].Address, s.registers[1][10], w.want, err)
			}
		}
		want := []driver.Value{driver.Int64Value(3), driver.Int64Value(-5), u64(3), yes}
		for i, sample := range u.mustPoll() { // one after another in the samples, of one register
			if !sample.Value.Equal(want[i]) {
				t.Errorf("%s is %v, want %v", u.points[i].Address, sample.Value, want[i])
			}
		}
	}
}

// A register without a value costs its own point only, and is good again once it has one.
func TestNoValueIsThatPointsAlone(t *testing.T) {
	s := newServer()
	s.registers[1][0], s.registers[1][1], s.registers[1][2] = 0x1234, 0x12A4, 0x5678
	u := newRig(t, s, "").mustUnit("", "holding:0:bcd16", "holding:1:bcd16", "holding:2:bcd16")
	out := u.mustPoll()
	if out[0].Value.Uint64() != 1234 || out[2].Value.Uint64() != 5678 || out[1].Quality != driver.Bad {
		t.Errorf("samples %+v", out)
	}
	s.mu.Lock()
	s.registers[1][1] = 0x1284
	s.mu.Unlock()
	if again := u.mustPoll(); again[1].Quality != driver.Good || again[1].Fault != nil || again[1].Value.Uint64() != 1284 {
		t.Errorf("sample %+v", again[1])
	}
}

func TestRequestsOfAPoll(t *testing.T) {
	stride := make([]string, 100)
	for i := range stride {
		stride[i] = fmt.Sprintf("holding:%d", 2*i)
	}
	contiguous := make([]string, 130)
	for i := range contiguous {
		contiguous[i] = fmt.Sprintf("holding:%d:int16", i)
	}
	coils := make([]string, 2001)
	for i := range coils {
		coils[i] = fmt.Sprintf("coil:%d", i)
	}
	for _, test := range []struct {
		name, settings string
		addresses      []string
		want           int
	}{
		{"100 registers at stride 2", "", stride, 2},
		{"130 contiguous int16", "", contiguous, 2},
		{"130 in blocks of 32", `{"max_block":32}`, contiguous, 5},
		{"no gaps", `{"gap":0}`, stride, 100},
		{"2001 coils", "", coils, 2},
		{"2001 coils in blocks of 32 registers", `{"max_block":32}`, coils, 4},
	} {
		s := newServer()
		u := newRig(t, s, "").mustUnit(test.settings, test.addresses...)
		for i, sample := range u.mustPoll() {
			if sample.Quality != driver.Good {
				t.Fatalf("%s: %s is %v: %v", test.name, test.addresses[i], sample.Quality, sample.Fault)
			}
		}
		if got := s.requests(); got != test.want {
			t.Errorf("%s: %d requests, want %d", test.name, got, test.want)
		}
	}
}

func TestOneIllegalAddressOfAHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		addresses := make([]string, 100)
		for i := range addresses {
			addresses[i] = fmt.Sprintf("holding:%d", i)
		}
		s := newServer()
		s.illegal[63] = true
		u := newRig(t, s, "").mustUnit("", addresses...)
		check := func() int {
			before := s.requests()
			for i, sample := range u.mustPoll() {
				if i != 63 && sample.Quality != driver.Good {
					t.Errorf("%d is %v: %v", i, sample.Quality, sample.Fault)
				}
				if i == 63 {
					mustFail(t, sample.Fault, driver.NotFound, "exception 2 (illegal data address)")
				}
			}
			return s.requests() - before
		}
		check()
		for range 59 {
			time.Sleep(time.Second)
			if n := check(); n != 2 {
				t.Fatalf("%d requests once learned, want 2", n)
			}
		}
		time.Sleep(time.Second)
		if n := check(); n != 3 {
			t.Errorf("%d requests when the illegal address is due again, want 3", n)
		}
		s.mu.Lock()
		clear(s.illegal)
		s.mu.Unlock()
		time.Sleep(time.Minute)
		for range 2 {
			if out := u.mustPoll(); out[63].Quality != driver.Good || out[63].Fault != nil {
				t.Errorf("once legal again: %+v", out[63])
			}
		}
	})
}

func TestEachExceptionIsItsOwnFault(t *testing.T) {
	tests := []struct {
		code  byte
		whole bool // ends the poll
		want  driver.Code
		text  string
	}{
		{1, false, driver.Unsupported, "exception 1 (illegal function)"},
		{2, false, driver.NotFound, "exception 2 (illegal data address)"},
		{3, false, driver.BadValue, "exception 3 (illegal data value)"},
		{4, false, driver.Protocol, "exception 4 (server device failure)"},
		{5, true, driver.Busy, "exception 5 (acknowledge)"},
		{6, true, driver.Busy, "exception 6 (server device busy)"},
		{7, false, driver.Denied, "exception 7 (negative acknowledge)"},
		{8, false, driver.Protocol, "exception 8 (memory parity error)"},
		{9, false, driver.Protocol, "exception 9 (unknown)"},
		{10, true, driver.Timeout, "exception 10 (gateway path unavailable)"},
		{11, true, driver.Timeout, "exception 11 (gateway target device failed to respond)"},
	}
	for _, test := range tests {
		s := newServer()
		s.answer = func(adu []byte) [][]byte { return [][]byte{frame(adu, []byte{adu[7] | 0x80, test.code})} }
		u := newRig(t, s, "").mustUnit(`{"unit":3}`, "holding:100", "holding:101")
		out, err := u.poll()
		if test.whole {
			mustFail(t, err, test.want, "modbus: unit 3: read holding 100+2: "+test.text)
		} else if err != nil {
			t.Errorf("exception %d: %v", test.code, err)
		} else {
			mustFail(t, out[0].Fault, test.want, test.text)
			mustFail(t, out[1].Fault, test.want, test.text)
		}
		err = u.write(0, u64(1))
		mustFail(t, err, test.want, "modbus: unit 3: write holding:100: "+test.text)
	}
}

func TestWritesThatAreRefused(t *testing.T) {
	s := newServer()
	u := newRig(t, s, "").mustUnit("", "input:3", "discrete:4", "holding:0:bytes:250", "holding:5.1", "coil:6", "holding:9")
	mustFail(t, u.write(0, u64(1)), driver.Denied, "the table input can only be read")
	mustFail(t, u.write(1, yes), driver.Denied, "the table discrete can only be read")
	mustFail(t, u.write(2, driver.BytesValue(make([]byte, 250))), driver.Denied, "125 registers are more than the 123")
	mustFail(t, u.write(3, u64(2)), driver.BadValue, "2 does not fit bool")
	mustFail(t, u.write(4, driver.StringValue("on")), driver.BadValue, "does not fit bool")
	mustFail(t, u.write(5, u64(70000)), driver.BadValue, "70000 does not fit uint16, which takes a whole number from 0 to 65535")
	if n := s.requests(); n != 0 {
		t.Errorf("%d requests for writes that cannot be", n)
	}
	s.without[22] = true
	mustFail(t, u.write(3, yes), driver.Unsupported, "set write_bit: read_modify_write")
	if n := s.requests(); n != 1 {
		t.Errorf("%d requests: a write was repeated in another way", n)
	}
}

func TestWriteOneByOneSaysHowFarItCame(t *testing.T) {
	s := newServer()
	s.illegal[11] = true
	u := newRig(t, s, "").mustUnit(`{"write":"fc6"}`, "holding:10:uint32")
	mustFail(t, u.write(0, u64(1<<16)), driver.NotFound, "after 1 of 2 registers were written: exception 2")
}

func TestUnknownPointIsOurBug(t *testing.T) {
	u := newRig(t, newServer(), "").mustUnit("", "holding:1")
	u.points[0].Index = 1
	mustFail(t, u.write(0, u64(1)), driver.Internal, "there is no point 1 of 1")
	_, err := u.read(0)
	mustFail(t, err, driver.Internal, "there is no point 1 of 1")
}

func TestClosedLink(t *testing.T) {
	r := newRig(t, newServer(), "")
	u := r.mustUnit("", "holding:1")
	for range 2 {
		if err := r.link.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	_, err := u.poll()
	mustFail(t, err, driver.NotConnected, "use of closed network connection")
	mustFail(t, u.write(0, u64(1)), driver.NotConnected, "use of closed network connection")
}
