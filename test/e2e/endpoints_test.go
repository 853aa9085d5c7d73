package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fieldloom/fieldloom/core/client"
	"github.com/fieldloom/fieldloom/simulator"
	"github.com/fieldloom/fieldloom/test/plant"
)

// draftWith is the Modbus driver's draft with other endpoints (empty: none) and wants.
func draftWith(t *testing.T, endpoints, wants string) string {
	t.Helper()
	const from = "../../drivers/modbus"
	text, err := os.ReadFile(filepath.Join(from, "driver.json"))
	if err != nil {
		t.Fatal(err)
	}
	draft := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &draft); err != nil {
		t.Fatal(err)
	}
	delete(draft, "endpoints")
	draft["wants"] = json.RawMessage(wants)
	if endpoints != "" {
		draft["endpoints"] = json.RawMessage(endpoints)
	}
	if text, err = json.Marshal(draft); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "schema"), os.DirFS(filepath.Join(from, "schema"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "driver.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// bounded is a gateway whose Modbus driver may reach one simulated device of two.
type bounded struct {
	*reloaded
	bins    plant.Binaries
	drivers string
	ports   [2]string
}

func startBounded(t *testing.T) *bounded {
	b := &bounded{reloaded: &reloaded{t: t, sim: simulator.Start(t, simulator.ModbusFleet(2, 100, simulator.Ports))}, bins: plant.Build(t)}
	for i := range b.ports {
		addr := b.sim.Addr(fmt.Sprintf("m%d", i+1))
		b.ports[i] = addr[strings.LastIndexByte(addr, ':')+1:]
	}
	dir := t.TempDir()
	b.drivers = filepath.Join(dir, "drivers")
	if err := os.Mkdir(b.drivers, 0o755); err != nil {
		t.Fatal(err)
	}
	b.pack("1.0.0", `{"tcp": {"over": "tcp", "port": 502}}`, `{"tcp": [`+b.ports[0]+`]}`)
	b.bins.WriteConfig(t, dir, b.main("best-effort"), "links:\n"+b.link(1, "near", `d: {template: fleet}`))
	b.g = b.bins.Start(t, dir)
	b.polls("m1", 3)
	return b
}

func (b *bounded) pack(version, endpoints, wants string) {
	b.t.Helper()
	b.bins.Pack(b.t, plant.Package{Driver: "modbus", Version: version, Draft: draftWith(b.t, endpoints, wants)}, b.drivers)
}

func (b *bounded) main(confine string) string {
	return fmt.Sprintf("drivers: %q\nconfine: %s\n", b.drivers, confine) + templates
}

// confine changes how the driver is confined.
func (b *bounded) confine(mode string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.g.Dir, "fieldloom.yaml"), []byte("detach: false\n"+b.main(mode)), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// A link that names what its driver may not reach is refused by check and at a reload, with
// its place; what was in force before stays, and is told.
func TestEndpointOutOfReach(t *testing.T) {
	b := startBounded(t)
	near, far := b.link(1, "near", `d: {template: fleet}`), b.link(2, "far", `d: {template: fleet}`)
	refusal := "links.yaml:3:30: links.far.url: its driver may not use TCP port " + b.ports[1] + ": its package asks for " + b.ports[0] + " alone"

	b.write(near, far)
	s := b.eventually(func(s client.Status) error {
		if !strings.Contains(strings.Join(s.Config.Errors, "\n"), refusal) {
			return fmt.Errorf("the errors are %v, want %s", s.Config.Errors, refusal)
		}
		return nil
	})
	if len(s.Links) != 1 || len(s.Config.Aside) != 1 {
		t.Errorf("%d links, aside %v", len(s.Links), s.Config.Aside)
	}
	b.polls("m1", 3)
	if out, err := b.g.CLI("check"); err == nil || !strings.Contains(err.Error()+string(out), refusal) {
		t.Errorf("check: %v\n%s", err, out)
	}

	b.confine("off")
	b.polls("m2", 3)
	if out, err := b.g.CLI("check"); err != nil {
		t.Errorf("check of what is not confined: %v\n%s", err, out)
	}

	b.confine("best-effort")
	b.eventually(func(s client.Status) error {
		if text := strings.Join(s.Warnings, "\n"); !strings.Contains(text, refusal) || len(s.Config.Errors) > 0 || len(s.Links) != 2 {
			return fmt.Errorf("%d links, errors %v, warnings %s", len(s.Links), s.Config.Errors, text)
		}
		return nil
	})
	b.polls("m1", 3)
}

// A version that may not reach what links name is not taken, and one of before endpoints were
// named reaches what its URLs say.
func TestUpgradeOutOfReach(t *testing.T) {
	b := startBounded(t)
	b.pack("2.0.0", `{"mqtt": {"over": "tcp"}}`, `{"tcp": "from-links"}`)
	b.pack("3.0.0", "", `{"tcp": "from-links"}`)
	out, err := b.g.CLI("driver", "upgrade", "modbus", "2.0.0")
	want := "driver modbus 2.0.0 may not reach what a link names: "
	if text := fmt.Sprint(err) + string(out); err == nil || !strings.Contains(text, want) || !strings.Contains(text, "driver modbus knows no tcp://: write one of mqtt://") {
		t.Errorf("%v\n%s", err, out)
	}
	if d, err := b.g.Driver("modbus"); err != nil || d.Version != "1.0.0" {
		t.Errorf("after the refusal: %s, %v", d.Version, err)
	}
	b.polls("m1", 3)
	if out, err := b.g.CLI("driver", "upgrade", "modbus", "3.0.0"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b.write(b.link(1, "near", `d: {template: fleet}`), b.link(2, "far", `d: {template: fleet}`))
	b.polls("m2", 3)
}
