package modbus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// bus answers for some units: each by an exception, by a value (0), or with nothing.
func bus(units map[byte]byte) *server {
	s := newServer()
	s.answer = func(adu []byte) [][]byte {
		code, there := units[adu[6]]
		switch {
		case !there:
			return nil
		case code != 0:
			return [][]byte{frame(adu, []byte{adu[7] | 0x80, code})}
		}
		return [][]byte{s.reply(adu)}
	}
	return s
}

// discover asks all candidates, and returns what was found.
func discover(t *testing.T, l driver.Link, c driver.Candidate) (found []string, asked int) {
	t.Helper()
	for of := 1; c.Number < of; c.Number++ {
		e, n, err := l.(driver.Discoverer).Discover(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if of = n; e != nil {
			found = append(found, strings.Join(strings.Fields(e.Address+" "+e.Name+" "+e.Value), " "))
		}
	}
	return found, c.Number
}

func TestDiscoverAsksEachUnitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := bus(map[byte]byte{1: 0, 2: 1, 3: 2, 4: 4, 5: 6, 6: 10, 7: 11, 247: 0, 255: 0})
		s.registers[1][0] = 4711
		r := newRig(t, s, "")
		began := time.Now()
		found, asked := discover(t, r.link, driver.Candidate{Patience: 50 * time.Millisecond})
		if diff := cmp.Diff([]string{
			"unit 1 holding:0 is 4711", "unit 2 it answers exception 1 (illegal function)", "unit 3 it answers exception 2 (illegal data address)",
			"unit 4 it answers exception 4 (server device failure)", "unit 5 it answers exception 6 (server device busy)", "unit 247 holding:0 is 4711",
		}, found); diff != "" {
			t.Error(diff)
		}
		// Two of the units are behind a gateway that says so at once.
		if took := time.Since(began); asked != 247 || s.requests() != 247 || took != 239*50*time.Millisecond {
			t.Errorf("%d candidates, %d requests in %v", asked, s.requests(), took)
		}
		for _, pdu := range s.pdus {
			if pdu[0] != 3 || binary.BigEndian.Uint16(pdu[3:]) != 1 {
				t.Fatalf("asked % X, want the read of a register", pdu)
			}
		}
	})
}

func TestDiscoverWithin(t *testing.T) {
	for within, want := range map[string]int{
		"7": 1, "1-3": 3, " 1-3 , 100 ": 4, "1-5,3-7": 7, "0": 1, "0-255": 256, "": 247,
		"x": -1, "1-": -1, "-1": -1, "5-1": -1, "256": -1, "1,,2": -1, "1-2-3": -1,
	} {
		l := newRig(t, newServer(), "").link.(driver.Discoverer)
		_, of, err := l.Discover(t.Context(), driver.Candidate{Within: within, Number: 1 << 20})
		switch {
		case want < 0:
			mustFail(t, err, driver.BadValue, "no range of units")
		case err != nil || of != want:
			t.Errorf("%q: %d candidates, %v, want %d", within, of, err, want)
		}
	}
	l := newRig(t, newServer(), `{"url":"tcp://device","framing":"rtu"}`).link.(driver.Discoverer)
	_, _, err := l.Discover(t.Context(), driver.Candidate{Within: "0-3"})
	mustFail(t, err, driver.BadValue, "none answers")
}

func TestDiscoverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, bus(nil), "")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		began := time.Now()
		if e, _, _ := r.link.(driver.Discoverer).Discover(ctx, driver.Candidate{Patience: timeout}); e != nil || time.Since(began) > timeout {
			t.Errorf("found %v after %v", e, time.Since(began))
		}
	})
}

func TestIdentifyIsOneRequest(t *testing.T) {
	s := newServer()
	s.answer = func(adu []byte) [][]byte {
		if adu[7] != 43 {
			return [][]byte{s.reply(adu)}
		}
		return [][]byte{frame(adu, []byte{43, 14, 1, 1, 0, 0, 2, 0, 4, 'A', 'c', 'm', 'e', 1, 3, 'X', '-', '1'})}
	}
	r := newRig(t, s, "")
	e, of, err := r.link.(driver.Discoverer).Discover(t.Context(), driver.Candidate{Within: "9", Patience: timeout, Identify: true})
	if err != nil || e == nil || e.Name != "Acme X-1" || e.Address != "unit 9" || of != 1 || s.requests() != 1 {
		t.Errorf("%+v, %d, %v after %d requests", e, of, err, s.requests())
	}
	s.answer = nil
	if e, _, err := r.link.(driver.Discoverer).Discover(t.Context(), driver.Candidate{Within: "9", Patience: timeout, Identify: true}); e != nil || err != nil {
		t.Errorf("of one that does not say: %+v, %v", e, err)
	}
}

func TestBrowseIsTheIdentification(t *testing.T) {
	s := newServer()
	s.answer = func(adu []byte) [][]byte {
		pdu := []byte{43, 14, 2, 2, 0xFF, 3, 1, 0, 1, 'V'}
		if adu[9] == 2 && adu[10] == 3 {
			pdu = []byte{43, 14, 2, 2, 0, 0, 2, 3, 1, 'U', 200, 1, 0xFF}
		}
		return [][]byte{frame(adu, pdu)}
	}
	u := newRig(t, s, "").mustUnit(`{"unit":3}`, "holding:0")
	entries, err := u.device.(driver.Browser).Browse(t.Context(), "", 100)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name+"="+e.Value)
	}
	if diff := cmp.Diff([]string{"VendorName=V", "VendorUrl=U", "object 200=?"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if one, err := u.device.(driver.Browser).Browse(t.Context(), "", 1); len(one) != 1 || err != nil {
		t.Errorf("at most one: %v, %v", one, err)
	}
}

// A device that does not say what it is is told apart from one that says nothing, and from one
// that is not there.
func TestBrowseWithoutAnIdentification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for unit, test := range map[byte]struct {
			code     driver.Code
			text     string
			requests int
		}{
			1: {driver.Unsupported, "read the device identification: exception 1 (illegal function)", 2},
			2: {driver.Timeout, "unit 2: read the device identification", 1},
			3: {driver.Timeout, "exception 11", 1},
		} {
			s := bus(map[byte]byte{1: 1, 3: 11})
			u := newRig(t, s, "").mustUnit(fmt.Sprintf(`{"unit":%d}`, unit), "holding:0")
			_, err := u.device.(driver.Browser).Browse(t.Context(), "", 100)
			mustFail(t, err, test.code, test.text)
			if s.requests() != test.requests {
				t.Errorf("unit %d was asked %d times", unit, s.requests())
			}
		}
	})
}

// What is put into registers is among the readings that are marked, under the address that reads
// it, and every address that is shown is one.
func TestExplainFindsWhatIsMeant(t *testing.T) {
	float := func(f float32) uint32 { return math.Float32bits(f) }
	for address, registers := range map[string][]uint16{
		"holding:160:float32:abcd": {uint16(float(230.5) >> 16), uint16(float(230.5) & 0xFFFF)},
		"holding:160:float32:cdab": {uint16(float(230.5) & 0xFFFF), uint16(float(230.5) >> 16)},
		"holding:160:uint16:abcd":  {4711},
		"holding:160:int16:abcd":   {0xFFF6},
		"holding:160:uint32:cdab":  {1234, 0},
		"holding:160:int32:abcd":   {0xFFFF, 0xFF00},
		"holding:160:string:8:abcd": {
			'A'<<8 | 'c', 'm'<<8 | 'e', ' '<<8 | '1', '2'<<8 | '3',
		},
		"holding:160:string:8:badc":  {'c'<<8 | 'A', 'e'<<8 | 'm', '1'<<8 | ' ', '3'<<8 | '2'},
		"holding:160:epoch32:abcd":   {0x65A0, 0x0000},
		"holding:160:epoch64ms:abcd": {0, 0x018C, 0xC251, 0xF400},
		"holding:160:bcd32:abcd":     {0x1234, 0x5678},
		"holding:160:float64:abcd":   {0x4036, 0x8000, 0, 0},
		"holding:160:uint48:abcd":    {0, 0x0001, 0x86A0},
	} {
		s := newServer()
		copy(s.registers[1][160:], registers)
		u := newRig(t, s, "").mustUnit(`{}`, "holding:0")
		entries, err := u.device.(driver.Browser).Browse(t.Context(), "holding:160", 1000)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(entries, func(e driver.Entry) bool { return e.Address == address })
		if i < 0 || !entries[i].Likely {
			t.Errorf("%s is not marked among %v", address, entries)
		}
		for _, e := range entries {
			if _, err := modbus.ParseAddress(e.Address); err != nil {
				t.Errorf("shown, and no address: %v", err)
			}
		}
		if s.requests() != 1 {
			t.Errorf("%d requests", s.requests())
		}
	}
}

// An empty register is nothing in particular.
func TestExplainMarksNoZero(t *testing.T) {
	u := newRig(t, newServer(), "").mustUnit(`{}`, "holding:0")
	entries, err := u.device.(driver.Browser).Browse(t.Context(), "input:7", 1000)
	for _, e := range entries {
		if e.Likely || e.Writable {
			t.Errorf("%+v", e)
		}
	}
	if err != nil || len(entries) < 60 {
		t.Errorf("%d readings, %v", len(entries), err)
	}
}

func TestExplainAtTheEndOfWhatThereIs(t *testing.T) {
	for n, want := range map[int]string{1: "uint16", 2: "float32", 3: "uint48", 4: "float64"} {
		s := newServer()
		s.illegal[uint16(100+n)] = true
		u := newRig(t, s, "").mustUnit(`{}`, "holding:0")
		entries, err := u.device.(driver.Browser).Browse(t.Context(), "holding:100", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries[0].Value) != 6*n-1 || !slices.ContainsFunc(entries, func(e driver.Entry) bool {
			return strings.HasPrefix(e.Address, "holding:100:"+want)
		}) {
			t.Errorf("of %d registers: %v", n, entries)
		}
	}
	s := newServer()
	u := newRig(t, s, "").mustUnit(`{"order":"cdab"}`, "holding:0")
	if _, err := u.device.(driver.Browser).Browse(t.Context(), "holding:65535", 1000); err != nil {
		t.Error(err)
	}
	for address, want := range map[string]driver.Code{"holding:100": driver.NotFound, "nonsense": driver.BadValue, "holding:70000": driver.BadValue} {
		s.illegal[100] = true
		_, err := u.device.(driver.Browser).Browse(t.Context(), address, 1000)
		mustFail(t, err, want, "")
	}
	entries, err := u.device.(driver.Browser).Browse(t.Context(), "holding:2:string:40", 1000)
	if err != nil || entries[1].Address != "holding:2:string:40" || len(entries[0].Value) != 3*40-1 {
		t.Errorf("the address's own reading: %v, %v", entries, err)
	}
	if bit, err := u.device.(driver.Browser).Browse(t.Context(), "coil:3", 1000); err != nil || len(bit) != 1 || bit[0].Value != "false" {
		t.Errorf("a coil: %v, %v", bit, err)
	}
}

// Whatever a device says of itself, it is taken apart within its bytes, and is text.
func FuzzIdentification(f *testing.F) {
	f.Add([]byte{14, 1, 1, 0, 0, 2, 0, 4, 'A', 'c', 'm', 'e', 1, 3, 'X', '-', '1'})
	f.Add([]byte{14, 1, 1, 0xFF, 3, 1, 0, 255, 'A'})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		texts, _, _ := modbus.Identification(data)
		if size := len(fmt.Sprint(texts)); size > 64*(len(data)+1) {
			t.Errorf("%d bytes became %d", len(data), size)
		}
		for _, text := range texts {
			if !utf8.ValidString(text) {
				t.Errorf("%q", text)
			}
		}
	})
}
