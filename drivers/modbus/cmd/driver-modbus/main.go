// Driver-modbus is the process of the Modbus TCP driver.
package main

import (
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/modbus"
)

func main() { plugin.Serve(modbus.New()) }
