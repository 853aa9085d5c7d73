package mqtt

import (
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fieldloom/fieldloom/core/driver"
)

// Why messages at QoS 0, which the broker does not send again, do not become samples.
const (
	whyFull   = "messages at QoS 0 were dropped: the gateway took them more slowly than they came"
	whyClosed = "messages at QoS 0 that had come were not taken before the link or the device was stopped"
)

// tellLost tells of samples that a device will not have.
func (l *link) tellLost(device string, samples int, at time.Time, why string) {
	if samples > 0 {
		l.env.Lost(driver.Loss{Device: device, Samples: uint64(samples), From: at, To: at, Cause: why})
	}
}

// loseMessage tells of the samples that a message would have been, those of optional points
// left out: they need not be in it. It runs in the library's reader and does not wait.
func (l *link) loseMessage(m paho.Message, at time.Time, why string) {
	lost := make(map[string]int)
	l.mu.Lock()
	for _, in := range l.index.match(m.Topic(), nil) {
		for _, p := range in.points {
			if !p.optional {
				lost[in.sub.device.name]++
			}
		}
	}
	l.mu.Unlock()
	for device, n := range lost {
		l.tellLost(device, n, at, why)
	}
}

// leave tells of the messages that nobody will take any more: the link's workers have ended,
// and so has the connection. Those above QoS 0 the broker sends again.
func (l *link) leave() {
	for _, d := range l.inflight.rest() {
		if d.Qos() == 0 {
			l.loseMessage(d.Message, d.arrival, whyClosed)
		}
	}
}
