package gateway

import (
	"os"

	"github.com/fieldloom/fieldloom/core/internal/wire"
)

// DriversByHand returns the drivers which somebody started by hand and which FIELDLOOM_ATTACH
// in the environment names: the paths of their records by their names, for Options.Attach.
func DriversByHand() (map[string]string, error) {
	return wire.ParseAttach(os.Getenv(wire.EnvAttach))
}
