package simulator

import (
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// This is a test from inside, since a template is seen only through a broker or a line.

func testPoints(t testing.TB) *points {
	t.Helper()
	p, err := newPoints([]Point{
		{Name: "n", Signal: signal.Slot()},
		{Name: "x", Signal: signal.Constant(signal.Float(-1.25))},
		{Name: "on", Signal: signal.Constant(signal.Bool(true))},
		{Name: "name", Signal: signal.Constant(signal.Text(`a "b"`))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTemplate(t *testing.T) {
	p := testPoints(t)
	for text, want := range map[string]string{
		"":                        "",
		"{x}":                     "-1.25",
		"{x:%08.3f}|{x:%d}|{n}":   "-001.250|-1|7",
		`{"v":{x},"n":{n}}`:       `{"v":-1.25,"n":7}`,
		"{device}/{name:%10s}/{}": `d/     a "b"/{}`,
		"{on} {on:%d} {n:%04x}":   "true 1 0007",
		"{ x }{x:}{9}":            "{ x }{x:}{9}",
	} {
		tpl, err := parseTemplate(text, "d", p)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(tpl.render(nil, p, moment{slot: 7})); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if tpl.slot != (strings.Contains(text, "{n}") || strings.Contains(text, "{n:")) {
			t.Errorf("%s: slot %t", text, tpl.slot)
		}
	}
	if _, err := parseTemplate("{nothing}", "d", p); err == nil {
		t.Error("an unknown point: no error")
	}
	if got, want := string(jsonTemplate(p).render(nil, p, moment{slot: 7})), `{"n":7,"x":-1.25,"on":true,"name":"a \"b\""}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("{x:%08.3f} {n} {device}")
	f.Add("{{x}}{x:%999.999f}")
	f.Fuzz(func(t *testing.T, text string) {
		p := testPoints(t)
		tpl, err := parseTemplate(text, "d", p)
		if err != nil {
			return
		}
		if got := tpl.render(nil, p, moment{}); len(got) > 1100*(len(text)+1) || strings.Contains(string(got), "%!") && !strings.Contains(text, "%!") {
			t.Errorf("%q gives %q", text, got)
		}
	})
}
