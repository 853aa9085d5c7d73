package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A fleetConfig says what the gateway under test polls.
type fleetConfig struct {
	addrs     []string // one link and one device each
	registers int      // a device, from holding 0; the first two are the slot
	period    string   // of the one scan class
	window    int
}

// links is the configuration's file of links.
func (f fleetConfig) links() string {
	var links strings.Builder
	fmt.Fprintf(&links, "templates:\n  fleet:\n    points:\n      slot: {address: \"holding:0:uint32\"}\n      reg[2..%d]: {address: \"holding:{n}\"}\nlinks:\n",
		f.registers-1)
	for i, addr := range f.addrs {
		fmt.Fprintf(&links, "  plc%d: {driver: modbus, url: \"tcp://%s\", window: %d, scan: {default: %s}, devices: {d: {template: fleet}}}\n",
			i+1, addr, f.window, f.period)
	}
	return links.String()
}

// writeConfig lays a configuration into dir; settings are further keys of the gateway.
func writeConfig(dir, drivers, links, settings string) error {
	main := fmt.Sprintf("gateway: bench\ndrivers: %q\ndetach: false\n%s", drivers, settings)
	if err := os.MkdirAll(filepath.Join(dir, "links"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "fieldloom.yaml"), []byte(main), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "links", "links.yaml"), []byte(links), 0o600)
}

// A gateway is a running `fieldloom run`.
type gateway struct {
	dir string
	bin string
	cmd *exec.Cmd
	log *os.File
}

// startGateway runs the built gateway with links over a fresh directory.
func startGateway(bin, links string) (*gateway, error) { return startGatewayWith(bin, links, "") }

// startGatewayWith has further keys in its configuration.
func startGatewayWith(bin, links, settings string) (*gateway, error) {
	dir, err := os.MkdirTemp("", "fieldloom-bench-")
	if err != nil {
		return nil, err
	}
	if err := writeConfig(dir, filepath.Join(filepath.Dir(bin), "drivers"), links, settings); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "run", "--config", dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &gateway{dir: dir, bin: bin, cmd: cmd, log: log}, nil
}

// stop ends the gateway and removes its directory.
func (g *gateway) stop() error {
	defer os.RemoveAll(g.dir)
	defer g.log.Close()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return g.cmd.Wait()
}

// A bareResult is what a bare loop in a process of its own did.
type bareResult struct {
	Polls   int
	CPU     time.Duration
	Elapsed time.Duration
}

// runBare runs a bare loop in a process of its own, so that its CPU is its own.
func runBare(kind string, addrs []string, registers, inFlight int, d time.Duration) (bareResult, error) {
	self, err := os.Executable()
	if err != nil {
		return bareResult{}, err
	}
	cmd := exec.Command(self, "bare", kind, fmt.Sprint(registers), fmt.Sprint(inFlight), d.String())
	cmd.Stdin = strings.NewReader(strings.Join(addrs, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return bareResult{}, fmt.Errorf("bare loop %s: %w", kind, err)
	}
	var r bareResult
	if err := json.Unmarshal(out, &r); err != nil {
		return bareResult{}, fmt.Errorf("bare loop %s: %w", kind, err)
	}
	return r, nil
}
