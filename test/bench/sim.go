package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/fieldloom/fieldloom/simulator"
)

// A simProcess is the simulator in a process of its own, so that its CPU is not
// counted. It answers each line on its stdin with a line of counts.
type simProcess struct {
	cmd   *exec.Cmd
	ask   io.WriteCloser
	lines *bufio.Scanner
	addrs []string
}

// startSim simulates n devices of so many registers, a port each.
func startSim(n, registers int) (*simProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &simProcess{cmd: exec.Command(self, "sim", fmt.Sprint(n), fmt.Sprint(registers))}
	s.cmd.Stderr = os.Stderr
	if s.ask, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.lines = bufio.NewScanner(out)
	s.lines.Buffer(nil, 1<<20)
	return s, s.next(&s.addrs)
}

func (s *simProcess) next(dst any) error {
	if !s.lines.Scan() {
		return fmt.Errorf("simulator ended: %w", s.lines.Err())
	}
	return json.Unmarshal(s.lines.Bytes(), dst)
}

// requests tells how many requests all devices have been sent.
func (s *simProcess) requests() (n uint64, err error) {
	if _, err := fmt.Fprintln(s.ask); err != nil {
		return 0, err
	}
	return n, s.next(&n)
}

func (s *simProcess) stop() error {
	s.ask.Close()
	return s.cmd.Wait()
}

// serveSim is the simulator process.
func serveSim(ctx context.Context, n, registers int) error {
	fleet := simulator.ModbusFleet(n, registers, simulator.Ports)
	sim, err := simulator.Run(ctx, &fleet)
	if err != nil {
		return err
	}
	defer sim.Close()
	out := json.NewEncoder(os.Stdout)
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = sim.Addr(fmt.Sprintf("m%d", i+1))
	}
	if err := out.Encode(addrs); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := out.Encode(sim.Witness().Counts().Total.Requests); err != nil {
			return err
		}
	}
	return nil
}
