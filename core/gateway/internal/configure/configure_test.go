package configure

import (
	"slices"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
)

// What a restart is needed for is refused, and all of it is told.
func TestFixedKeys(t *testing.T) {
	old := &config.Config{DataDir: "a", DriversDir: "a", Socket: "a/s"}
	for _, c := range []struct {
		next     config.Config
		stranded string
		want     []string
	}{
		{next: *old},
		{next: config.Config{DataDir: "b", DriversDir: "b", Socket: "b/s"}, want: []string{"data", "drivers"}}, // the socket went with the data
		{next: config.Config{DataDir: "a", DriversDir: "a", Socket: "b/s"}, want: []string{"socket"}},
		{next: *old, stranded: "acme", want: []string{"processes.acme.user"}},
	} {
		var keys []string
		if err := fixed(old, &c.next, c.stranded); err != nil {
			for _, line := range RefusedBy(err).Lines() {
				key, _, _ := strings.Cut(strings.TrimPrefix(line, "fieldloom.yaml: "), ":")
				keys = append(keys, key)
			}
		}
		if !slices.Equal(keys, c.want) {
			t.Errorf("%+v, %s: %v, want %v", c.next, c.stranded, keys, c.want)
		}
	}
}
