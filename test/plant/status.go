package plant

import (
	"encoding/json"
	"fmt"

	"github.com/fieldloom/fieldloom/core/client"
)

// Status asks the gateway for its status.
func (g *Gateway) Status() (client.Status, error) {
	var s client.Status
	out, err := g.CLI("status", "--json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(out, &s)
}

// Driver asks for the state of one driver process.
func (g *Gateway) Driver(name string) (client.Driver, error) {
	s, err := g.Status()
	if err != nil {
		return client.Driver{}, err
	}
	for _, d := range s.Drivers {
		if d.Name == name {
			return d, nil
		}
	}
	return client.Driver{}, fmt.Errorf("status has no driver %s", name)
}
