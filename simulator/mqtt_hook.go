package simulator

import (
	"net"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is how the simulator looks into its broker, and where it makes up for four things of
// mochi-mqtt 2.7.9:
//
//   - While a client takes over its session, a message may go to the old one after it has been copied, and be lost. So nothing is published meanwhile.
//   - What a session has not acknowledged is sent again in the order of whole seconds. So each message is dated with its number, of which mochi compares
//     the low 16 bits.
//   - A SUBSCRIBE is refused when a message to the client is in flight under the same packet id, though ids of the two directions have nothing to do with
//     each other (MQTT 3.1.1, 2.3.1). So the broker is shown the id 0.
//   - A connection that hangs in a write blocks the one that takes its session over. So it is closed first.
//
// One thing remains: a PUBLISH of QoS 1 from a client removes a message that is in flight to it
// under the same packet id, which would not be sent again.
type hook struct {
	mqtt.HookBase
	broker *broker
	handed atomic.Uint64
	acked  atomic.Uint64
	dated  atomic.Int64

	subscribing sync.Map // net.Conn to uint16: the packet id of the SUBSCRIBE that is being answered
	taking      sync.Map // net.Conn to true: the connection that holds broker.publishing
}

func newHook(b *broker) *hook { return &hook{broker: b} }

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "simulator" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnSubscribe, mqtt.OnPacketEncode,
		mqtt.OnPublish, mqtt.OnQosPublish, mqtt.OnQosComplete:
		return true
	}
	return false
}

// OnConnectAuthenticate lets everybody in.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck lets everybody do everything.
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// OnSessionEstablish comes before a client takes over what its session left.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	if old, ok := h.broker.core.Clients.Get(cl.ID); ok && old.Net.Conn != nil {
		old.Net.Conn.Close()
	}
	h.broker.publishing.Lock()
	h.taking.Store(cl.Net.Conn, true)
}

// OnSessionEstablished comes when the client has the session, and all that was left for it.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) { h.taken(cl.Net.Conn) }

// left comes when a connection has ended, wherever it was.
func (h *hook) left(c net.Conn) {
	h.subscribing.Delete(c)
	h.taken(c)
}

// taken ends a take-over.
func (h *hook) taken(c net.Conn) {
	if _, held := h.taking.LoadAndDelete(c); held {
		h.broker.publishing.Unlock()
	}
}

// OnSubscribe hides the packet id.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if !cl.Net.Inline {
		h.subscribing.Store(cl.Net.Conn, pk.PacketID)
		pk.PacketID = 0
	}
	return pk
}

// OnPacketEncode puts the packet id of a SUBSCRIBE into its answer.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Suback {
		if id, ok := h.subscribing.LoadAndDelete(cl.Net.Conn); ok {
			pk.PacketID, _ = id.(uint16)
		}
	}
	return pk
}

// OnPublish sees every message that comes in.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	pk.Created = h.dated.Add(1)
	if !cl.Net.Inline {
		h.broker.receive(pk.TopicName, pk.Payload)
	}
	return pk, nil
}

// OnQosPublish counts what a session took. It is also called for acknowledgements, and for what
// is sent again.
func (h *hook) OnQosPublish(_ *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup && pk.Origin == mqtt.InlineClientId {
		h.handed.Add(1)
	}
}

// OnQosComplete counts what a session acknowledged. The broker's own acknowledgements have a
// date, those of clients do not.
func (h *hook) OnQosComplete(_ *mqtt.Client, pk packets.Packet) {
	if pk.FixedHeader.Type == packets.Puback && pk.Created == 0 {
		h.acked.Add(1)
	}
}
