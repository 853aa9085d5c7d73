package config_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fieldloom/fieldloom/core/config"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(map[string][]byte{"fieldloom.yaml": []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProcessDefaults(t *testing.T) {
	c := parse(t, "log: {level: warn}\nlinks: {l: {driver: bare}}")
	want := config.Process{Detach: true, Log: slog.LevelWarn, Probation: time.Minute}
	if diff := cmp.Diff(want, c.Process("bare")); diff != "" {
		t.Error(diff)
	}
	if c.AllowDev || c.Orphan != 5*time.Minute || c.SecretsDir != "secrets" || c.TrustFile != "" {
		t.Errorf("allow-dev %v, orphan %v, secrets %q, trust %q", c.AllowDev, c.Orphan, c.SecretsDir, c.TrustFile)
	}
}

func TestProcessOfOneDriver(t *testing.T) {
	c := parse(t, `
unsigned: allow-dev
trust: keys/trust.yaml
secrets: /run/credentials
confine: required
detach: false
orphan: 30s
processes:
  bare: {instances: 4, standby: 1, confine: off, detach: true, memory: 512MiB, user: nobody, log: debug, probation: 0, spill: 1GiB}
  other: {standby: 2}
links:
  l: {driver: bare}
  m: {driver: other}
  n: {driver: third}
`)
	for driver, want := range map[string]config.Process{
		"bare": {Instances: 4, Standby: 1, Confine: config.ConfineOff, Detach: true, Memory: 512 << 20, User: "nobody",
			Log: slog.LevelDebug, Spill: 1 << 30},
		"other": {Standby: 2, Confine: config.ConfineRequired, Probation: time.Minute},
		"third": {Confine: config.ConfineRequired, Probation: time.Minute},
	} {
		if diff := cmp.Diff(want, c.Process(driver)); diff != "" {
			t.Errorf("%s: %s", driver, diff)
		}
	}
	if !c.AllowDev || c.Orphan != 30*time.Second || c.SecretsDir != "/run/credentials" || c.TrustFile != "keys/trust.yaml" {
		t.Errorf("allow-dev %v, orphan %v, secrets %q, trust %q", c.AllowDev, c.Orphan, c.SecretsDir, c.TrustFile)
	}
}

func TestSecretsAreFoundWhereSettingsNameThem(t *testing.T) {
	c := parse(t, `
templates:
  login: {user: plant, password: "secret:broker"}
links:
  a:
    driver: bare
    template: login
    tls: {key: "secret:tls-key", list: ["x", {y: "secret:deep"}]}
    note: "no secret:here"
    devices:
      d[1..3]: {pin: "secret:pin-{n}"}
      e: {pin: "secret:pin-1", points: {p: {address: "secret:is-an-address"}}}
  b: {driver: bare, password: "secret:broker"}
`)
	var all []string
	for _, s := range c.Secrets() {
		all = append(all, s.Name)
	}
	if diff := cmp.Diff([]string{"broker", "deep", "pin-1", "pin-2", "pin-3", "tls-key"}, all, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
	for i, want := range [][]string{{"broker", "deep", "pin-1", "pin-2", "pin-3", "tls-key"}, {"broker"}} {
		if diff := cmp.Diff(want, c.Links[i].SecretNames()); diff != "" {
			t.Errorf("link %d: %s", i, diff)
		}
	}
	for _, s := range c.Secrets() {
		if s.Name != "deep" {
			continue
		}
		const want = `fieldloom.yaml:8:50: links.a.tls.list[1].y: there is no such file`
		if got := c.SecretFault(s, "there is no such file").Error(); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}
