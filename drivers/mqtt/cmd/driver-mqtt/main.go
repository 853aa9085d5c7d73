// Command driver-mqtt is the MQTT driver as a process that the gateway starts.
package main

import (
	"github.com/fieldloom/fieldloom/core/plugin"
	"github.com/fieldloom/fieldloom/drivers/mqtt"
)

func main() { plugin.Serve(mqtt.New()) }
