package pack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/pack"
)

func TestDifferences(t *testing.T) {
	m := &pack.Manifest{Name: "acme", Version: "1.0", Schemas: pack.Schemas{Link: json.RawMessage(`{"type": "object", "title": "x"}`)}}
	same := pack.Schemas{Link: json.RawMessage(`{"title":"x","type":"object"}`)}
	if list := m.Differences("acme", "1.0", same); len(list) > 0 {
		t.Errorf("differences %q of the same", list)
	}
	other := pack.Schemas{Link: json.RawMessage(`{"title":"y"}`), Device: json.RawMessage(`{}`)}
	text := strings.Join(m.Differences("acne", "1.1", other), "\n")
	for _, want := range []string{`name "acme", and its executable "acne"`, `version "1.0", and its executable "1.1"`, "schema of a link", "schema of a device"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "an address") {
		t.Errorf("no schema differs from none:\n%s", text)
	}
}
