package serial

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

// FuzzLines checks that the framer cuts a stream as strings.Split would, wherever
// the reads fall, and never keeps more than a line.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nb\r\n\r\nccccccccccccccc\r\nd"), "\r\n", 3)
	f.Add([]byte("a\rb\r\r\r\nc\n"), "\r", 1)
	f.Add([]byte("xaabaabx"), "aab", 2)
	f.Fuzz(func(t *testing.T, stream []byte, terminator string, cut int) {
		if len(terminator) < 1 || len(terminator) > 8 {
			return
		}
		const most = 10
		var got []string
		fr := lineFramer{terminator: []byte(terminator), maxLine: most}
		for rest := stream; len(rest) > 0; {
			n := min(max(cut, 1), len(rest))
			fr.feed(rest[:n], 0, func(l line) {
				if l.long {
					l.text = "long"
				}
				got = append(got, l.text)
			})
			if rest = rest[n:]; len(fr.line) > most+len(terminator) {
				t.Fatalf("keeps %d bytes", len(fr.line))
			}
		}
		var want []string
		parts := strings.Split(string(stream), terminator)
		for _, s := range parts[:len(parts)-1] {
			switch {
			case len(s) > most:
				want = append(want, "long")
			case s != "":
				want = append(want, s)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("stream %q, terminator %q: %s", stream, terminator, diff)
		}
	})
}

// FuzzFields checks that a sample is Good with a value that can be stored, or has a fault.
func FuzzFields(f *testing.F) {
	f.Add("T=21.5 H=40", `T=(\S+)`, "", uint8(0))
	f.Add("1;0x1f;\xff", "", ";", uint8(4))
	f.Add(" a  b ", "", " ", uint8(2))
	f.Fuzz(func(t *testing.T, text, expect, split string, k uint8) {
		x := extractor{split: split}
		if expect != "" {
			var err error
			if x.expect, err = parsePattern(expect, nil); err != nil {
				return
			}
		}
		fields, ok := x.fields(text)
		if !ok {
			return
		}
		if fields[0] != text {
			t.Fatalf("field 0 is %q", fields[0])
		}
		for _, field := range fields {
			s := (kind(k) % (hex + 1)).sample(field)
			if (s.Quality == driver.Good) != (s.Fault == nil) {
				t.Fatalf("quality %v with fault %v", s.Quality, s.Fault)
			}
			if !utf8.ValidString(s.Value.Str()) || (s.Fault != nil && !utf8.ValidString(s.Fault.Text)) {
				t.Fatalf("%q is no UTF-8", s.Value.Str())
			}
			if v := s.Value.Float64(); math.IsNaN(v) || math.IsInf(v, 0) {
				t.Fatalf("number %v", v)
			}
		}
	})
}

// FuzzTemplate checks that no written value can end the line early, and that a
// pattern matches the variables that it is made with.
func FuzzTemplate(f *testing.F) {
	f.Add("#{a}SP {value:05.1f}{{}}", `^#{a} (\d{2,3})\{$`, "01", "12")
	f.Add("{value}", `\p{Greek}{a}`, ".*", "x\r\ny")
	f.Add("{value:s}", `{a}`, "(", "-1")
	f.Fuzz(func(t *testing.T, send, expect, variable, value string) {
		vars := map[string]string{"a": variable}
		if tpl, err := parseTemplate(send, vars); err == nil {
			fixed, _ := tpl.render(driver.Int64Value(0), integer)
			plain := strings.ContainsFunc(fixed, unicode.IsControl)
			for k := number; k <= hex; k++ {
				s, fault := tpl.render(driver.ParseValue(value), k)
				if fault == nil && !plain && strings.ContainsFunc(s, unicode.IsControl) && fixed != "" {
					t.Fatalf("%q with %q sends %q", send, value, s)
				}
				if fault == nil && strings.Contains(s, "%!") && !strings.Contains(send+variable+value, "%!") {
					t.Fatalf("%q with %q sends %q", send, value, s)
				}
			}
		}
		p, err := parsePattern(expect, vars)
		if err != nil {
			return
		}
		if expect == "{a}" && utf8.ValidString(variable) && !p.MatchString(variable) {
			t.Fatalf("%s does not match %q", p, variable)
		}
		if p.prefix != "" && p.MatchString(variable) && !strings.HasPrefix(variable, p.prefix) {
			t.Fatalf("%s matches %q, which does not begin with %q", p, variable, p.prefix)
		}
	})
}

// FuzzAddress checks that whatever parses names something.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"measure:temp", "measure:2:integer set=sp", "bool set=out", "set=x", "a:b:c", ":", "a:0 b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			return
		}
		if (a.source == "") != (a.field == "") || (a.source == "" && a.write == "") || a.kind > hex {
			t.Fatalf("%q gave %+v", s, a)
		}
		again := strings.TrimSpace(fmt.Sprintf("%s:%s:%s", a.source, a.field, a.kind))
		if a.source == "" {
			again = a.kind.String()
		}
		if a.write != "" {
			again += " set=" + a.write
		}
		if len(again) > maxAddress {
			return // written out with its type, the address is longer than one may be
		}
		if b, err := parseAddress(again); err != nil || *b != *a {
			t.Fatalf("%q became %q: %v", s, again, err)
		}
	})
}

func TestApart(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"^#01 (.*)", "^#02 (.*)", true},
		{"^#01 (.*)", "^#01 (.*)", false},
		{"^#01", "^#012", false},
		{"#01", "^#02", false},
		{"^(?i)a1", "^b1", false},
		{"^a|b", "^c", false},
		{"", "^c", false},
	} {
		var a, b *pattern
		var err error
		if tc.a != "" {
			if a, err = parsePattern(tc.a, nil); err != nil {
				t.Fatal(err)
			}
		}
		if b, err = parsePattern(tc.b, nil); err != nil {
			t.Fatal(err)
		}
		if got := apart(a, b); got != tc.want {
			t.Errorf("%q and %q: apart is %v", tc.a, tc.b, got)
		}
	}
}
