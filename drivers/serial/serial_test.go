package serial_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/driver"
)

func TestFields(t *testing.T) {
	answers := map[string]string{
		"MEAS?": "T=21.5 H=40\r\n",
		"CSV?":  "a; 7 ;-3e2;0x1F;on;18446744073709551615\r\n",
		"WS?":   "  1\t 2  3\r\n",
		"BAD?":  "nan;1_0;99999999999999999999;xyz;2;\xff\r\n",
		"HEX?":  "ffff\r\n",
	}
	i := newInstrument(t, func(line string) string { return answers[line] })
	l := openLink(t, i, patience, "")
	read := reader(t, l, config(t, `{"requests": {
		"m": {"send": "MEAS?", "expect": "^T=(?P<temp>\\S+) H=(\\S+)$"},
		"c": {"send": "CSV?", "split": ";"},
		"w": {"send": "WS?", "split": " "},
		"b": {"send": "BAD?", "split": ";"},
		"h": {"send": "HEX?"}}}`,
		"m:temp", "m:2:integer", "m:0:text", "c:1:text", "c:2", "c:3:integer", "c:4:hex", "c:5:bool", "c:6:integer", "c:7",
		"w:3", "b:1", "b:2", "b:3:integer", "b:4:hex", "b:5:bool", "b:6:text", "h:0:hex"))
	out, err := read()
	check(t, err)
	var got []string
	for _, s := range out {
		got = append(got, describe(s))
	}
	bad := "null null bad protocol"
	want := []string{"21.5 float64 good", "40 int64 good", "T=21.5 H=40 string good", "a string good", "7 float64 good", "-300 int64 good",
		"31 uint64 good", "true bool good", "18446744073709551615 uint64 good", bad,
		"3 float64 good", bad, bad, bad, bad, bad, bad, "65535 uint64 good"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(i.heard); n != 5 {
		t.Errorf("%d requests for 5", n)
	}
}

func TestSeveralInstrumentsOnALine(t *testing.T) {
	i := newInstrument(t, func(line string) string {
		if line == "#07V?" {
			return "" // dead
		}
		return line[:3] + " " + line[1:3] + "\r\n"
	})
	l := openLink(t, i, 50*time.Millisecond, `, "late": "10s"`)
	set := `{"vars": {"addr": %q}, "requests": {"v": {"send": "#{addr}V?", "expect": "^#{addr} (\\d{1,2})$"}}}`
	first := reader(t, l, config(t, fmt.Sprintf(set, "01"), "v:1"))
	dead := reader(t, l, config(t, fmt.Sprintf(set, "07"), "v:1"))
	second := reader(t, l, config(t, fmt.Sprintf(set, "02"), "v:1"))
	for range 3 {
		for want, read := range map[float64]func() ([]driver.Sample, error){1: first, 2: second} {
			out, err := read()
			check(t, err)
			if got := out[0].Value.Float64(); got != want {
				t.Errorf("instrument %v says %v", want, got)
			}
		}
	}
	// The dead one's late answer could not be taken for the second one's, so that
	// does not wait the ten seconds that it may come.
	start := time.Now()
	if _, err := dead(); driver.CodeOf(err) != driver.Timeout {
		t.Errorf("dead instrument: %v", err)
	}
	if _, err := second(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

func TestLateAnswerIsNotTheNext(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, 200*time.Millisecond, `, "late": "10s"`)
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	if _, err := read(); driver.CodeOf(err) != driver.Timeout {
		t.Fatalf("silent instrument: %v", err)
	}
	next(t, i.heard)
	i.say("1\r\n") // the answer to the first request
	go func() {
		<-i.heard
		i.say("2\r\n")
	}()
	out, err := read()
	check(t, err)
	if got := out[0].Value.Float64(); got != 2 {
		t.Errorf("the second request got %v", got)
	}
}

func TestNoRequestWhileALateAnswerMayCome(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, 100*time.Millisecond, `, "late": "300ms"`)
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	start := time.Now()
	for range 2 {
		if _, err := read(); driver.CodeOf(err) != driver.Timeout {
			t.Fatalf("silent instrument: %v", err)
		}
	}
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("two requests, and the wait for a late answer, took %v", took)
	}
}

func TestStaleInputIsNoAnswer(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, patience, "")
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	i.say("1\r\n2\r\n3") // two lines and the beginning of one
	go func() {
		<-i.heard
		i.say("\r\n4\r\n")
	}()
	out, err := read()
	check(t, err)
	if got := out[0].Value.Float64(); got != 4 {
		t.Errorf("the request got %v", got)
	}
}

func TestAByteAtATime(t *testing.T) {
	i := newInstrument(t, nil)
	l := openLink(t, i, 60*time.Millisecond, `, "late": "0s"`)
	read := reader(t, l, config(t, `{"requests": {"v": {"send": "V?"}}}`, "v:0"))
	// Each poll gets one byte of 12\r\n34\r\n, so no line is ever whole within one.
	for n, b := range "12\r\n34\r\n" {
		go func() {
			<-i.heard
			i.say(string(b))
		}()
		out, err := read()
		if err == nil {
			t.Fatalf("poll %d got %s", n, describe(out[0]))
		}
	}
}

func TestLinesThatAreNoAnswer(t *testing.T) {
	i := newInstrument(t, func(line string) string {
		switch line {
		case "LONG?":
			return strings.Repeat("x", 200) + "\r\n"
		case "WHAT?":
			return "ERR 5\r\n"
		case "NO?":
			return "DENIED\r\n"
		default:
			return "\r\n\r\nhello\r\n" + line + "\r\n" // empty lines, a stranger, then an echo
		}
	})
	l := openLink(t, i, 300*time.Millisecond, `, "max_line": 100`)
	for _, tc := range []struct {
		request, want string
		code          driver.Code
	}{
		{`{"send": "E?", "expect": "^E.$"}`, "E? string good", driver.OK},
		{`{"send": "LONG?"}`, "null null bad protocol", driver.Protocol},
		{`{"send": "WHAT?", "expect": "^OK"}`, "null null bad protocol", driver.Protocol},
		{`{"send": "NO?", "refuse": "^DENIED"}`, "null null bad denied", driver.OK},
	} {
		out, err := reader(t, l, config(t, `{"requests": {"r": `+tc.request+`}}`, "r:0:text"))()
		if driver.CodeOf(err) != tc.code || describe(out[0]) != tc.want {
			t.Errorf("%s: %s, %v", tc.request, describe(out[0]), err)
		}
		if err != nil && tc.request == `{"send": "WHAT?", "expect": "^OK"}` && !strings.Contains(err.Error(), "ERR 5") {
			t.Errorf("%v does not tell what came", err)
		}
	}
}

// TestUnknownRequestIsAskedLast has an instrument that ignores one of three requests.
func TestUnknownRequestIsAskedLast(t *testing.T) {
	i := newInstrument(t, func(line string) string {
		if line == "a" {
			return ""
		}
		return line + "1\r\n"
	})
	l := openLink(t, i, 100*time.Millisecond, `, "late": "0s"`)
	read := reader(t, l, config(t, `{"requests": {
		"a": {"send": "a", "expect": "a(1)"}, "b": {"send": "b", "expect": "b(1)"}, "c": {"send": "c", "expect": "c(1)"}}}`,
		"a:1", "b:1", "c:1"))
	if _, err := read(); driver.CodeOf(err) != driver.Timeout {
		t.Errorf("first poll: %v", err)
	}
	for range 2 {
		out, err := read()
		check(t, err)
		got := []string{describe(out[0]), describe(out[1]), describe(out[2])}
		if diff := cmp.Diff([]string{"null null bad timeout", "1 float64 good", "1 float64 good"}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestListening(t *testing.T) {
	i := newInstrument(t, func(line string) string { return "W 9\r\n" + line + " 1\r\nW 10\r\n" })
	l := openLink(t, i, patience, "")
	scale, _ := listen(t, l, config(t, `{"lines": {"w": {"expect": "^W (?P<kg>\\S+)$"}, "e": {"expect": "^E (.*)$"}}}`, "w:kg", "w:0:text", "e:1:text"))
	all, _ := listen(t, l, config(t, `{"lines": {"any": {"split": " "}}}`, "any:3:text"))
	// Whether Subscribe has begun is only seen by what it does.
	for scaleHears, allHears := false, false; !scaleHears || !allHears; {
		i.say("E ready\r\n")
		select {
		case s := <-scale:
			scaleHears = scaleHears || s.Value.Str() == "ready"
		case <-all:
			allHears = true
		case <-time.After(10 * time.Millisecond):
		}
	}
	i.say("W 1.5\r\nW x\r\n")
	var got []string
	for len(got) < 4 {
		if s := next(t, scale); s.Point != 2 {
			got = append(got, fmt.Sprint(s.Point, " ", describe(s.Sample)))
			if time.Since(s.Time) > patience || s.Time.IsZero() {
				t.Errorf("time %v", s.Time)
			}
		}
	}
	want := []string{"0 1.5 float64 good", "1 W 1.5 string good", "0 null null bad protocol", "1 W x string good"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := next(t, all); s.Quality != driver.Bad || s.Fault.Code != driver.Protocol {
		t.Errorf("a line without a third column gave %s", describe(s.Sample))
	}
	// Requests on the same line: the answer goes to the one who asked, all else to the listeners.
	out, err := reader(t, l, config(t, `{"requests": {"m": {"send": "M", "expect": "^M (\\d)$"}}}`, "m:1"))()
	check(t, err)
	if describe(out[0]) != "1 float64 good" {
		t.Errorf("the request got %s", describe(out[0]))
	}
	for _, want := range []string{"W 9", "W 10"} {
		for s := next(t, scale); s.Value.Str() != want; s = next(t, scale) {
			if strings.HasPrefix(s.Value.Str(), "M") {
				t.Fatal("the listener got the answer")
			}
		}
	}
}

func TestWrite(t *testing.T) {
	i := newInstrument(t, func(line string) string {
		switch {
		case strings.HasPrefix(line, "NO"):
			return "ERR range\r\n"
		case strings.HasPrefix(line, "SILENT"):
			return ""
		default:
			return "OK\r\n"
		}
	})
	l := openLink(t, i, 200*time.Millisecond, `, "late": "0s"`)
	set := `{"vars": {"a": 7}, "writes": {
		"plain": {"send": "{a}:{value}", "expect": "^OK$", "refuse": "^ERR"},
		"fixed": {"send": "{value:06.2f}{{}}", "expect": "^OK$"},
		"hex": {"send": "{value:04X}", "expect": "^OK$"},
		"blind": {"send": "B {value}"},
		"no": {"send": "NO {value}", "expect": "^OK$", "refuse": "^ERR"},
		"silent": {"send": "SILENT {value}", "expect": "^OK$"},
		"reset": {"send": "RST", "expect": "^OK$"}}}`
	for _, tc := range []struct {
		address string
		value   driver.Value
		want    string
		code    driver.Code
	}{
		{"set=plain", driver.Float64Value(1e6), "7:1000000", driver.OK},
		{"set=plain", driver.StringValue("x"), "", driver.BadValue},
		{"integer set=plain", driver.Float64Value(3), "7:3", driver.OK},
		{"integer set=plain", driver.Float64Value(3.5), "", driver.BadValue},
		{"integer set=plain", driver.Uint64Value(1 << 63), "7:9223372036854775808", driver.OK},
		{"bool set=plain", driver.BoolValue(true), "7:1", driver.OK},
		{"bool set=plain", driver.Int64Value(2), "", driver.BadValue},
		{"hex set=plain", driver.Int64Value(255), "7:FF", driver.OK},
		{"hex set=hex", driver.Int64Value(255), "00FF", driver.OK},
		{"text set=plain", driver.StringValue("abc"), "7:abc", driver.OK},
		{"text set=plain", driver.StringValue("a\r\nRESET"), "", driver.BadValue},
		{"text set=plain", driver.Value{}, "", driver.BadValue},
		{"text set=fixed", driver.StringValue("abc"), "", driver.BadValue},
		{"set=fixed", driver.Int64Value(7), "007.00{}", driver.OK},
		{"set=plain", driver.ParseValue("NaN"), "", driver.BadValue},
		{"set=blind", driver.Int64Value(1), "B 1", driver.OK},
		{"set=no", driver.Int64Value(1), "NO 1", driver.Denied},
		{"set=silent", driver.Int64Value(1), "SILENT 1", driver.Timeout},
		{"set=reset", driver.Int64Value(1), "RST", driver.OK},
	} {
		cfg := config(t, set, tc.address)
		d, err := l.Device(t.Context(), cfg)
		check(t, err)
		err = d.(driver.Writer).Write(t.Context(), cfg.Points[0], tc.value)
		if driver.CodeOf(err) != tc.code {
			t.Errorf("write %s to %s: %v", tc.value.Kind(), tc.address, err)
		}
		if tc.want == "" {
			continue
		}
		if got := next(t, i.heard); got != tc.want {
			t.Errorf("write %s to %s sent %q, want %q", tc.value.Kind(), tc.address, got, tc.want)
		}
	}
	if n := len(i.heard); n != 0 {
		t.Errorf("%d lines more than were written", n)
	}
}

func TestReadOnlyAndWriteOnly(t *testing.T) {
	i := newInstrument(t, func(string) string { return "1\r\n" })
	l := openLink(t, i, patience, "")
	cfg := config(t, `{"requests": {"v": {"send": "V?"}}, "writes": {"w": {"send": "W{value}"}}}`, "v:0", "set=w")
	out, err := reader(t, l, cfg)()
	check(t, err)
	if out[0].Quality != driver.Good || out[1].Fault.Code != driver.Unsupported {
		t.Errorf("got %s and %s", describe(out[0]), describe(out[1]))
	}
	d, err := l.Device(t.Context(), cfg)
	check(t, err)
	if err := d.(driver.Writer).Write(t.Context(), cfg.Points[0], driver.Int64Value(1)); driver.CodeOf(err) != driver.Denied {
		t.Errorf("write to a point without a write: %v", err)
	}
}
