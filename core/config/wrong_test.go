package config_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fieldloom/fieldloom/core/config"
	"github.com/fieldloom/fieldloom/core/control"
	"github.com/fieldloom/fieldloom/core/driver"
)

var update = flag.Bool("update", false, "write what is found into testdata as what is wanted")

// drivers describes a driver much as the Modbus one is.
func drivers() map[string]control.Description {
	info := driver.Info{
		Name: "modbus", Version: "1.0.0",
		LinkSchema: json.RawMessage(`{
			"type": "object", "required": ["url"], "additionalProperties": false,
			"properties": {
				"url": {"type": "string", "pattern": "^tcp://", "description": "tcp://HOST:PORT of the device"},
				"window": {"type": "integer", "minimum": 1, "maximum": 64},
				"client": {"type": "string", "minLength": 2},
				"tables": {"type": "array", "items": {"enum": ["coil", "holding"]}},
				"tls": {"$ref": "#/$defs/tls"}
			},
			"$defs": {"tls": {
				"type": "object", "additionalProperties": false,
				"properties": {"ca": {"type": "string"}, "cert": {"type": "string", "examples": ["cert.pem"]}, "pin": {"type": "string", "minLength": 4, "writeOnly": true}}
			}}
		}`),
		DeviceSchema: json.RawMessage(`{
			"type": "object", "additionalProperties": false,
			"properties": {
				"unit": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 247}, {"const": 255}]},
				"order": {"enum": ["abcd", "dcba", "badc", "cdab"]},
				"serial": {"type": "string"}
			}
		}`),
		AddressSchema: json.RawMessage(`{"type": "string", "pattern": "^(holding|coil):[0-9]+|^[0-9]{5}$", "examples": ["holding:100", "40101"]}`),
	}
	return map[string]control.Description{"modbus": {Info: info}, "bare": {Info: driver.Info{Name: "bare"}}}
}

// split cuts a file of testdata into the files that it holds, each after a line
// `-- NAME --`, and what is wanted, the last of them.
func split(t *testing.T, path string) (files map[string][]byte, head, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "-- want --\n"
	head, want, found := strings.Cut(string(data), mark)
	if !found {
		t.Fatalf("%s has no line %q", path, mark)
	}
	files = map[string][]byte{}
	for _, part := range strings.Split("\n"+head, "\n-- ")[1:] {
		name, text, _ := strings.Cut(part, " --\n")
		if !strings.HasSuffix(part, "\n") && text != "" {
			text += "\n" // which is that before the next mark
		}
		files[name] = []byte(text)
	}
	return files, head + mark, want
}

// problems returns everything that is wrong, a line each.
func problems(t *testing.T, files map[string][]byte) string {
	t.Helper()
	c, err := config.Parse(files)
	if err == nil {
		err = c.Check(drivers())
	}
	if err == nil {
		return ""
	}
	var all config.Errors
	if !errors.As(err, &all) {
		t.Fatalf("%T is not Errors", err)
	}
	return err.Error() + "\n"
}

// Every file of testdata/wrong is a configuration and the exact errors.
func TestWrong(t *testing.T) {
	paths, err := filepath.Glob("testdata/wrong/*.txtar")
	if err != nil || len(paths) < 40 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			files, head, want := split(t, path)
			got := problems(t, files)
			if *update {
				if err := os.WriteFile(path, []byte(head+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want == "" {
				t.Error("no error is wanted: that is not wrong")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
