package main

import (
	"fmt"
	"strings"

	"github.com/fieldloom/fieldloom/simulator"
)

// serialLink configures the instruments of simulator.SerialLine: `?1` asks the first
// for its number, slot and temperature, and `!1 21.5` sets the temperature.
func serialLink(b *strings.Builder, s *simulator.ServerConfig, addr string) {
	fmt.Fprintf(b, "    driver: serial\n    port: %q\n    baud: %d\n    devices:\n", addr, demoBaud)
	for i := range s.Devices {
		n := i + 1
		fmt.Fprintf(b, "      %s:\n        requests:\n          all: {send: \"?%d\", expect: \"^%d \", split: \" \"}\n", s.Devices[i].Name, n, n)
		fmt.Fprintf(b, "        writes:\n          temperature: {send: \"!%d {value:.2f}\", expect: \"^ok$\"}\n", n)
		b.WriteString("        points:\n          slot: {address: \"all:2:integer\"}\n")
		b.WriteString("          temperature: {address: \"all:3 set=temperature\", access: rw, unit: \"°C\"}\n")
	}
}
