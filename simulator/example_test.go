package simulator_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/fieldloom/fieldloom/simulator"
)

// A gateway under test would poll; here one request is enough to see the witness count it.
func Example() {
	cfg := simulator.ModbusFleet(3, 100, simulator.Ports)
	sim, err := simulator.Run(context.Background(), &cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sim.Close()

	conn, err := net.Dial("tcp", sim.Addr("m2"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	// Transaction 1, protocol 0, 6 bytes follow, unit 1: read 2 holding registers from 0.
	_, _ = conn.Write([]byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 2})
	answer := make([]byte, 13)
	_, _ = io.ReadFull(conn, answer)

	fmt.Println("read slot", binary.BigEndian.Uint32(answer[9:]))
	fmt.Println("m2 served", sim.Device("m2").Slot(), "- m3 served", sim.Device("m3").Slot())
	// Output:
	// read slot 1
	// m2 served 1 - m3 served 0
}

func ExampleLoad() {
	dir, _ := os.MkdirTemp("", "sim")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sim.yaml")
	_ = os.WriteFile(path, []byte(`
servers:
  plc[1..1000]:
    listen: 127.0.0.1:{20000+n}
    devices:
      m{n}: {image: meter}
images:
  meter: {registers: 100}
schedule:
  - {device: m7, fault: silent, at: 10s, for: 5s}
`), 0o600)
	cfg, err := simulator.Load(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	last := cfg.Servers[len(cfg.Servers)-1]
	fmt.Println(len(cfg.Servers), "servers, the last on", last.Listen, "with", last.Devices[0].Name)
	// Output: 1000 servers, the last on 127.0.0.1:21000 with m1000
}
