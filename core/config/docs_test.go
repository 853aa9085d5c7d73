package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/config"
)

const reference = "../../docs/config.md"

func readReference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The examples of the reference are one configuration, and a right one.
func TestReferenceExamples(t *testing.T) {
	files := map[string][]byte{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n# (\\S+)\n(.*?)```").FindAllStringSubmatch(readReference(t), -1) {
		files[m[1]] = []byte(m[2])
	}
	c, err := config.Parse(files)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 || len(c.Links) != 27 {
		t.Errorf("%d files, %d links", len(files), len(c.Links))
	}
	boiler := device(t, link(t, c, "line1"), "boiler")
	if p := point(t, boiler, "temp"); p.Unit != "°C" || p.Class != 2 {
		t.Errorf("%+v", p)
	}
	if p := point(t, device(t, link(t, c, "plc7"), "unit3"), "reg42"); p.Address != "holding:342" {
		t.Errorf("%+v", p)
	}
}

// Every key that an error offers is described in the reference.
func TestReferenceHasEveryKey(t *testing.T) {
	text := readReference(t)
	for _, tc := range []struct{ wrong, section string }{
		{"x: 1", "## fieldloom.yaml"},
		{"spool: {x: 1}", "## fieldloom.yaml"},
		{"log: {x: 1}", "## fieldloom.yaml"},
		{"processes: {bare: {x: 1}}\nlinks: {l: {driver: bare}}", "## fieldloom.yaml"},
		{"links: {l: {driver: bare, scan: {f: {x: 1}}}}", "## Links"},
		{"links: {l: {driver: bare, devices: {d: {points: {p: {x: 1}}}}}}", "## Points"},
	} {
		_, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(tc.wrong)})
		if err == nil {
			t.Fatalf("%s: no error", tc.wrong)
		}
		_, keys, found := strings.Cut(err.Error(), "use one of ")
		if !found {
			t.Fatalf("%s: %v", tc.wrong, err)
		}
		_, section, _ := strings.Cut(text, tc.section)
		section, _, _ = strings.Cut(section, "\n## ")
		for _, key := range regexp.MustCompile(`\w+`).FindAllString(strings.ReplaceAll(keys, " and ", " "), -1) {
			if !regexp.MustCompile("`([a-zA-Z]+\\.)*" + key + "[`.]").MatchString(section) {
				t.Errorf("%s: the key %s is not described in %q", reference, key, tc.section)
			}
		}
	}
}

// Every section and every key in one has a row in the reference.
func TestReferenceHasEverySection(t *testing.T) {
	_, rows, _ := strings.Cut(readReference(t), "## fieldloom.yaml")
	rows, _, _ = strings.Cut(rows, "\n## ")
	keys := config.SectionKeys()
	for _, key := range keys {
		isMap := slices.ContainsFunc(keys, func(k string) bool { return strings.HasPrefix(k, key+".") })
		if !isMap && !strings.Contains(rows, "\n| `"+key+"` |") {
			t.Errorf("%s: there is no row of the key %s", reference, key)
		}
	}
}
