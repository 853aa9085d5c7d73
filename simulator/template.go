package simulator

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/fieldloom/fieldloom/simulator/signal"
)

// What stands in a template for a value: {point}, or {point:%6.2f} with a verb for integers,
// numbers or text. Braces around anything else are plain text, so that a template may be a JSON
// object.
var (
	placeholder = regexp.MustCompile(`\{([A-Za-z_][A-Za-z0-9_.-]*)(?::(%[-+ 0#]*[0-9]{0,3}(?:\.[0-9]{1,3})?[dxXobeEfgGs]))?\}`)
	validName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
)

func isName(s string) bool { return validName.MatchString(s) }

// template is a text with the values of points in it.
type template struct {
	parts []part
	slot  bool // the slot is one of them
	json  bool // no text: all points as one JSON object
}

// part is a text, and then a point's value unless point is -1.
type part struct {
	text  string
	point int
	verb  string
}

// parseTemplate reads a template for a device. {device} stands for its name.
func parseTemplate(text, device string, p *points) (*template, error) {
	t := &template{}
	rest := strings.ReplaceAll(text, "{device}", device)
	for {
		at := placeholder.FindStringSubmatchIndex(rest)
		if at == nil {
			t.parts = append(t.parts, part{text: rest, point: -1})
			return t, nil
		}
		name, verb := rest[at[2]:at[3]], ""
		if at[4] >= 0 {
			verb = rest[at[4]:at[5]]
		}
		i, ok := p.find(name)
		if !ok {
			return nil, fmt.Errorf("template %q: the device has no point %q", text, name)
		}
		t.parts = append(t.parts, part{text: rest[:at[0]], point: i, verb: verb})
		t.slot = t.slot || p.isSlot(i)
		rest = rest[at[1]:]
	}
}

// jsonTemplate is all points of a device as one JSON object.
func jsonTemplate(p *points) *template {
	t := &template{json: true, slot: p.slot >= 0}
	for i := range p.list {
		t.parts = append(t.parts, part{point: i})
	}
	return t
}

// render appends the text with the values of a moment.
func (t *template) render(to []byte, p *points, at moment) []byte {
	if t.json {
		return t.renderJSON(to, p, at)
	}
	for i := range t.parts {
		to = append(to, t.parts[i].text...)
		if n := t.parts[i].point; n >= 0 {
			to = appendVerb(to, t.parts[i].verb, p.get(n, at))
		}
	}
	return to
}

func (t *template) renderJSON(to []byte, p *points, at moment) []byte {
	to = append(to, '{')
	for i := range t.parts {
		if i > 0 {
			to = append(to, ',')
		}
		n := t.parts[i].point
		to = appendJSON(to, signal.Text(p.list[n].Name))
		to = append(to, ':')
		to = appendJSON(to, p.get(n, at))
	}
	return append(to, '}')
}

func appendJSON(to []byte, v signal.Value) []byte {
	if v.IsText() {
		quoted, err := json.Marshal(v.String())
		if err != nil {
			return append(to, "null"...)
		}
		return append(to, quoted...)
	}
	if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		return append(to, "null"...)
	}
	return v.Append(to)
}

func appendVerb(to []byte, verb string, v signal.Value) []byte {
	if verb == "" {
		return v.Append(to)
	}
	switch verb[len(verb)-1] {
	case 's':
		return fmt.Appendf(to, verb, v.String())
	case 'd', 'x', 'X', 'o', 'b':
		return fmt.Appendf(to, verb, int64(v.Bits()))
	default:
		return fmt.Appendf(to, verb, v.Float())
	}
}
