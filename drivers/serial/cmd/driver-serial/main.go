// Command driver-serial is the serial driver as a process that the gateway starts.
package main

import (
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/serial"
)

func main() { plugin.Serve(serial.New()) }
