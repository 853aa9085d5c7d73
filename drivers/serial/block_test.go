package serial

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

// formOf compiles the settings of a frame.
func formOf(t testing.TB, frame string) *blockForm {
	t.Helper()
	s, err := parseLink(driver.LinkConfig{Settings: json.RawMessage(`{"port": "/dev/ttyS0", "max_line": 64, "frame": ` + frame + `}`)})
	if err != nil {
		t.Fatal(err)
	}
	return s.form
}

// cutUp feeds a stream in pieces and returns the frames; a wrong one has a ! before it.
func cutUp(form *blockForm, stream []byte, piece int, quiet bool) (frames []string) {
	f := &blockFramer{blockForm: *form}
	take := func(l line) {
		switch {
		case l.long:
			frames = append(frames, "long")
		case l.wrong != "":
			frames = append(frames, "!"+l.text)
		default:
			frames = append(frames, l.text)
		}
	}
	for len(stream) > 0 {
		n := min(max(piece, 1), len(stream))
		f.feed(stream[:n], 0, take)
		stream = stream[n:]
	}
	if quiet {
		f.quiet(take)
	}
	return frames
}

func TestFrames(t *testing.T) {
	xor := func(b string) string {
		x := byte(0)
		for i := range len(b) {
			x ^= b[i]
		}
		return b + string([]byte{x})
	}
	for _, c := range []struct {
		name, form, stream string
		want               []string
	}{
		{"start and end", `{"start": "02", "end": "03"}`, "noise\x02one\x03more\x02two\x03\x02cut\x02three\x03", []string{"\x02one\x03", "\x02two\x03", "\x02three\x03"}},
		{"a check byte behind the end", `{"start": "02", "end": "03", "after": 1, "checksum": {"type": "xor", "from": 1}}`,
			"\x02" + xor("+12 kg\x03") + "\x02+12 kg\x03?" + "\x02" + xor("-3 kg\x03"), []string{"\x02" + xor("+12 kg\x03"), "!\x02+12 kg\x03?", "\x02" + xor("-3 kg\x03")}},
		{"the sum before the end", `{"start": "3A", "end": "0D0A", "checksum": "xor"}`, xor(":ab") + "\r\n" + ":abX\r\n", []string{xor(":ab") + "\r\n", "!:abX\r\n"}},
		{"fixed length", `{"start": "FA", "length": 5, "checksum": "xor"}`,
			"\x01\x02" + xor("\xfa\x0d\x0a\x00") + xor("\xfa\xfa\xfa\x00") + "\xfa\x00\x09\x00\x00" + xor("\xfa\x00\x01\x00"),
			[]string{xor("\xfa\x0d\x0a\x00"), xor("\xfa\xfa\xfa\x00"), "!\xfa\x00\x09\x00\x00", xor("\xfa\x00\x01\x00")}},
		{"a length field", `{"start": "68", "length": {"offset": 1, "adds": 3}}`, "\x68\x02ab\x16\x00\x68\x00\x16\x68\x03abc\x16", []string{"\x68\x02ab\x16", "\x68\x00\x16", "\x68\x03abc\x16"}},
		{"a length field of two bytes", `{"start": "AA55", "length": {"offset": 2, "size": 2, "order": "little", "adds": 4}}`, "\xaa\x55\x01\x00x\xaa\x55\x02\x00yz", []string{"\xaa\x55\x01\x00x", "\xaa\x55\x02\x00yz"}},
		{"a length that cannot be", `{"start": "68", "length": {"offset": 1, "size": 2}}`, "\x68\xff\xff\x68\x00\x04x", []string{"\x68\x00\x04x"}},
		{"SLIP", `{"end": "C0", "escape": {"byte": "DB", "map": {"DC": "C0", "DD": "DB"}}}`, "\xc0a\xdb\xdcb\xdb\xddc\xc0\xc0d\xc0", []string{"a\xc0b\xdbc\xc0", "d\xc0"}},
		{"DLE", `{"start": "1002", "end": "1003", "escape": {"byte": "10", "map": {"10": "10"}}}`, "\x10\x02a\x10\x10\x03b\x10\x03\x10\x02c\x10\x03", []string{"\x10\x02a\x10\x03b\x10\x03", "\x10\x02c\x10\x03"}},
		{"escape by xor", `{"start": "7E", "end": "7E", "escape": {"byte": "7D", "xor": "20"}}`, "\x7eab\x7d\x5ec\x7e", []string{"\x7eab\x7ec\x7e"}},
		{"subtract", `{"start": "68", "length": {"offset": 1, "adds": 3}, "subtract": {"value": "33", "from": 2, "to": 1}}`, "\x68\x02\x34\x35\x16", []string{"\x68\x02\x01\x02\x16"}},
		{"silence", `{"idle": "20ms"}`, "\x01\x02\x03", []string{"\x01\x02\x03"}},
		{"too long", `{"start": "02", "end": "03", "max": 8}`, "\x02aaaaaaaaaaaaaaaaaaaaaaaa\x02b\x03", []string{"long", "\x02b\x03"}},
	} {
		for _, piece := range []int{1, 2, 3, 1000} {
			got := cutUp(formOf(t, c.form), []byte(c.stream), piece, c.name == "silence")
			if c.name == "silence" && piece < 3 {
				continue // each piece is one
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s in pieces of %d: %s", c.name, piece, diff)
			}
		}
	}
}

func TestFramesThatCannotBe(t *testing.T) {
	for frame, want := range map[string]string{
		`{}`:                               "one of three ways",
		`{"start": "02"}`:                  "one of three ways",
		`{"end": "03", "length": 5}`:       "one of three ways",
		`{"length": 5}`:                    "needs a start",
		`{"start": "0", "end": "03"}`:      "two hexadecimal digits",
		`{"start": "02", "length": 1}`:     "is not more than the start",
		`{"start": "02", "length": 99}`:    "at most 64",
		`{"end": "03", "after": -1}`:       "after counts",
		`{"end": "03", "idle": "-1s"}`:     "idle",
		`{"end": "03", "checksum": "crc"}`: `"crc" is no checksum: use crc32`,
		`{"end": "03", "checksum": {"type": "nmea", "from": 1}}`:        "own place",
		`{"end": "03", "checksum": {"type": "xor", "order": "middle"}}`: "is not big or little",
		`{"end": "03", "escape": {"byte": "10"}}`:                       "escape",
		`{"end": "03", "escape": {"byte": "10", "map": {"1": "10"}}}`:   "a byte stands for a byte",
		`{"end": "03", "subtract": {"value": "3333"}}`:                  "one byte",
		`{"start": "02", "length": {"offset": 1, "size": 9}}`:           "size is 1 to 4",
		`{"start": "02", "length": {"offset": 1, "ordre": "big"}}`:      "ordre",
		`{"start": "02", "length": {"offset": 1, "order": "other"}}`:    "is not big or little",
	} {
		_, err := parseLink(driver.LinkConfig{Settings: json.RawMessage(`{"port": "/dev/ttyS0", "max_line": 64, "frame": ` + frame + `}`)})
		if err == nil || !strings.Contains(err.Error(), want) || driver.CodeOf(err) != driver.InvalidConfig {
			t.Errorf("%s: %v, want %q", frame, err, want)
		}
	}
}

func TestBinaryFields(t *testing.T) {
	frame := "\xfa\x81\x02\x03\x04\x05\x06\x07\x12\x34\x41\xac\x00\x00abc \x00"
	for _, c := range []struct {
		place, kind string
		want        string // empty: the sample is Bad
	}{
		{"1", "uint8", "129"}, {"1", "int8", "-127"}, {"1", "uint16", "33026"}, {"1", "uint16le", "641"}, {"1", "int24", "-8322557"},
		{"2", "uint32", "33752069"}, {"2", "uint32le", "84148994"}, {"10", "float32", "21.5"}, {"8", "bcd2", "1234"}, {"8", "bcd2le", "3412"},
		{"1", "bcd1", "81"}, {"0", "bcd1", ""}, {"14", "ascii5", "abc"}, {"-1", "uint8", "0"}, {"19", "uint8", ""}, {"18", "uint16", ""}, {"-99", "uint8", ""},
		{"1.7", "uint8", "true"}, {"1.0", "uint8", "true"}, {"1.1", "uint8", "false"}, {"1.4-7", "int8", "-8"}, {"1.4-7", "uint8", "8"},
	} {
		f, err := parseBinary(c.place, c.kind)
		if err != nil {
			t.Errorf("%s:%s: %v", c.place, c.kind, err)
			continue
		}
		s := f.sample(frame)
		got := ""
		if s.Quality == driver.Good {
			got = s.Value.String()
		}
		if got != c.want || (s.Fault == nil) != (s.Quality == driver.Good) {
			t.Errorf("%s:%s is %q (%v), want %q", c.place, c.kind, got, s.Fault, c.want)
		}
	}
	for _, c := range [][2]string{{"x", "uint8"}, {"1", "uint9"}, {"1.8", "uint8"}, {"1.3-2", "uint8"}, {"1.1", "float32"}, {"1", "bcd10"}, {"1", "ascii256"}, {"", "uint8"}} {
		if _, err := parseBinary(c[0], c[1]); err == nil {
			t.Errorf("%s:%s is taken", c[0], c[1])
		}
	}
}

// FuzzFrames checks that frames are the same wherever the reads fall, that what is kept is
// bounded, and that no frame is believed whose sum is wrong.
func FuzzFrames(f *testing.F) {
	forms := []*blockForm{
		formOf(f, `{"start": "02", "end": "03", "after": 1, "max": 16, "checksum": {"type": "xor", "from": 1}}`),
		formOf(f, `{"start": "FA", "length": 5, "checksum": "xor"}`),
		formOf(f, `{"start": "68", "length": {"offset": 1, "adds": 3}, "max": 32, "checksum": "sum8"}`),
		formOf(f, `{"end": "C0", "max": 16, "escape": {"byte": "DB", "map": {"DC": "C0", "DD": "DB"}}}`),
		formOf(f, `{"start": "1002", "end": "1003", "max": 16, "escape": {"byte": "10", "map": {"10": "10"}}}`),
		formOf(f, `{"start": "7E", "end": "7E", "max": 16, "escape": {"byte": "7D", "xor": "20"}}`),
	}
	f.Add(uint8(0), 1, []byte("\x02ab\x03\x60"))
	f.Add(uint8(1), 2, []byte("\xfa\xfa\xfa\x00\xfa\x00"))
	f.Add(uint8(3), 3, []byte("\xc0a\xdb\xdcb\xc0"))
	f.Fuzz(func(t *testing.T, which uint8, piece int, stream []byte) {
		form := forms[int(which)%len(forms)]
		got := cutUp(form, stream, piece, false)
		if diff := cmp.Diff(cutUp(form, stream, 1, false), got); diff != "" {
			t.Fatalf("in pieces of %d: %s", piece, diff)
		}
		keeper := &blockFramer{blockForm: *form}
		keeper.feed(stream, 0, func(l line) {
			if l.wrong != "" || form.sum == nil || l.long {
				return
			}
			if _, wrong := form.sum.verify([]byte(l.text)); wrong != "" {
				t.Fatalf("%q is believed: %s", l.text, wrong)
			}
		})
		if most := 4 * (form.most + 32); len(keeper.in) > most {
			t.Fatalf("keeps %d bytes of at most %d", len(keeper.in), most)
		}
	})
}

// FuzzBinaryFields checks that no field reads beyond its frame.
func FuzzBinaryFields(f *testing.F) {
	f.Add("1.0-3", "uint16le", "\x01\x02\x03")
	f.Add("-2", "bcd2", "\x99\x12")
	f.Fuzz(func(t *testing.T, place, kind, frame string) {
		b, err := parseBinary(place, kind)
		if err != nil {
			return
		}
		if s := b.sample(frame); (s.Quality == driver.Good) != (s.Fault == nil) {
			t.Fatalf("quality %v with fault %v", s.Quality, s.Fault)
		}
	})
}
