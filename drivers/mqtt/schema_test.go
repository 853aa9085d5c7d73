package mqtt_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fieldloom/fieldloom/core/driver"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

func compile(t *testing.T, name string, schema json.RawMessage) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	check(t, err)
	c := jsonschema.NewCompiler()
	check(t, c.AddResource(name, doc))
	s, err := c.Compile(name)
	check(t, err)
	return s
}

// TestSchemas checks that what a schema takes, the driver takes, and the reverse.
func TestSchemas(t *testing.T) {
	info := mqtt.New().Info()
	link, dev, addr := compile(t, "link.json", info.LinkSchema), compile(t, "device.json", info.DeviceSchema), compile(t, "address.json", info.AddressSchema)
	tls := map[string]any{"ca": "/ca.pem", "cert": "/c.pem", "key": "/k.pem", "server_name": "b"}
	for _, tc := range []struct {
		link, device json.RawMessage
		address      string
		ok           bool
	}{
		{settings(t, "broker", "tcp://h:1"), settings(t), "a", true},
		{settings(t, "broker", "ssl://h", "client_id", "c", "username", "u", "password", "p", "qos", 2, "clean_session", true, "keep_alive", "1m30s",
			"tls", tls, "max_payload", 1, "max_inflight", 1, "max_inflight_bytes", 2),
			settings(t, "qos", 0, "retain", true, "time", "$.t", "time_format", "s"), "a $.b", true},
		{settings(t), settings(t), "a", false},
		{settings(t, "broker", "tcp://h:1", "qos", 3), settings(t), "a", false},
		{settings(t, "broker", "tcp://h:1", "keep_alive", 30), settings(t), "a", false},
		{settings(t, "broker", "tcp://u:p@h:1"), settings(t), "a", false},
		{settings(t, "broker", "tcp://h:1"), settings(t, "qos", 3), "a", false},
		{settings(t, "broker", "tcp://h:1"), settings(t, "time_format", "s"), "a", false},
		{settings(t, "broker", "tcp://h:1"), settings(t), "", false},
	} {
		valid := validate(t, link, tc.link) && validate(t, dev, tc.device) && addr.Validate(tc.address) == nil
		d := device("d", tc.address)
		d.Settings = tc.device
		err := mqtt.New().(driver.Checker).Check(driver.LinkConfig{Name: "l", Settings: tc.link}, []driver.DeviceConfig{d})
		if valid != tc.ok || (err == nil) != tc.ok {
			t.Errorf("link %s, device %s, address %q: schema says %v, driver says %v", tc.link, tc.device, tc.address, valid, err)
		}
	}
}

func validate(t *testing.T, s *jsonschema.Schema, doc json.RawMessage) bool {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(doc))
	check(t, err)
	return s.Validate(v) == nil
}

// TestExamplesParse checks the examples that a user sees.
func TestExamplesParse(t *testing.T) {
	var schema struct{ Examples []string }
	check(t, json.Unmarshal(mqtt.New().Info().AddressSchema, &schema))
	if len(schema.Examples) == 0 {
		t.Fatal("no examples")
	}
	check(t, mqtt.New().(driver.Checker).Check(driver.LinkConfig{Name: "l", Settings: settings(t, "broker", "tcp://h:1")},
		[]driver.DeviceConfig{device("d", schema.Examples...)}))
}
