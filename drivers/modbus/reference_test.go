package modbus_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/drivers/modbus"
)

// Every setting of a link is described in the reference, and has what a reader needs in its schema.
func TestReferenceHasEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Modbus\n")
	section, _, found := strings.Cut(section, "```yaml\n# links/modbus.yaml\n")
	if !found {
		t.Fatal("the reference has no section of Modbus with an example")
	}
	var schema struct {
		Properties map[string]struct{ Description string }
	}
	if err := json.Unmarshal(modbus.New().Info().LinkSchema, &schema); err != nil {
		t.Fatal(err)
	}
	for key, property := range schema.Properties {
		if !strings.Contains(section, "`"+key+"`") {
			t.Errorf("docs/config.md does not describe %s", key)
		}
		if property.Description == "" {
			t.Errorf("schema/link.json does not describe %s", key)
		}
	}
}
