package core

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tombolo-net/tombolo/core/bridge"
	"github.com/tombolo-net/tombolo/core/direct"
	"github.com/tombolo-net/tombolo/core/dispatch"
	"github.com/tombolo-net/tombolo/core/link"
	"github.com/tombolo-net/tombolo/core/supervise"
)

// nodeLabel is on all metrics of a node, with its peer ID as the value, so that
// several nodes can share a registerer.
const nodeLabel = "node"

// labelled returns a registerer that adds nodeLabel; nil for nil.
func (n *Node) labelled(r prometheus.Registerer) prometheus.Registerer {
	if r == nil {
		return nil
	}
	return prometheus.WrapRegistererWith(prometheus.Labels{nodeLabel: n.ID().String()}, r)
}

// collector exports a node's Stats as metrics. Its labels are reasons, priorities and
// directions; none takes a value that a peer chooses.
type collector struct{ stats func() Stats }

var _ prometheus.Collector = collector{}

// metricsPart registers a collector of the node's Stats, and the others given.
func (n *Node) metricsPart(registerer prometheus.Registerer, others ...prometheus.Collector) Part {
	if registerer == nil {
		return Part{Name: "metrics"}
	}
	all := append(others, collector{n.Stats})
	return Part{
		Name: "metrics",
		Start: func(context.Context) error {
			for i, c := range all {
				if err := registerer.Register(c); err != nil {
					for _, done := range all[:i] {
						registerer.Unregister(done)
					}
					return fmt.Errorf("the metrics of node %s cannot be registered: %w", n.ID(), err)
				}
			}
			return nil
		},
		Close: func() error {
			for _, c := range all {
				registerer.Unregister(c)
			}
			return nil
		},
	}
}

// Describe sends the descriptions of the metrics that Collect sends, so that two nodes of
// one identity cannot share a registerer.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect sends one snapshot.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.stats()
	m := metrics{ch}
	m.gauge("peers", "Peers connected.", s.Peers)
	m.gauge("connections", "Connections open.", s.Connections)
	m.gauge("reservations", "Circuit reservations held.", s.Reservations)
	m.dispatch(s.Dispatch)
	m.links(s.Links)
	m.mesh(s)
	m.bridge(s.Bridge)
	m.direct(s.Direct)
}

// metrics sends metrics whose names begin with "tombolo_".
type metrics struct{ ch chan<- prometheus.Metric }

// send sends one metric. labels is empty, or one label and its value.
func (m metrics) send(kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	if len(labels) == 2 {
		names, values = labels[:1], labels[1:]
	}
	m.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("tombolo_"+name, help, names, nil), kind, v, values...)
}

func (m metrics) gauge(name, help string, v int, labels ...string) {
	m.send(prometheus.GaugeValue, name, help, float64(v), labels)
}

func (m metrics) count(name, help string, v uint64, labels ...string) {
	m.send(prometheus.CounterValue, name, help, float64(v), labels)
}

func (m metrics) seconds(kind prometheus.ValueType, name, help string, v time.Duration, labels ...string) {
	m.send(kind, name, help, v.Seconds(), labels)
}

func (m metrics) dispatch(s dispatch.Stats) {
	m.gauge("subscriptions", "Subscriptions open.", s.Subscriptions)
	m.gauge("subscription_types", "Types and patterns subscribed to.", s.Types)
	m.gauge("mailbox_messages", "Messages that wait for the readers of subscriptions.", s.Depth)
	m.gauge("mailbox_deepest_messages", "Messages that wait in the fullest mailbox.", s.Deepest)
	m.count("published_total", "Messages given to the dispatcher.", s.Published)
	m.count("unclaimed_total", "Messages that nobody had subscribed to.", s.Unclaimed)
	m.count("refused_total", "Messages that are no events of applications.", s.Refused)
	m.count("delivered_total", "Messages handed to the readers of subscriptions.", s.Delivered)
	m.count("duplicates_total", "Messages that subscriptions had had already.", s.Duplicates)
	const dropped, lost = "dropped_total", "Messages that subscriptions lost."
	m.count(dropped, lost, s.Dropped.Full, "reason", "full")
	m.count(dropped, lost, s.Dropped.Superseded, "reason", "superseded")
	m.count(dropped, lost, s.Dropped.Timeout, "reason", "timeout")
	m.count(dropped, lost, s.Dropped.Closed, "reason", "closed")
	m.handlers("message", s.Handlers)
}

func (m metrics) handlers(of string, s supervise.Stats) {
	m.count("handler_runs_total", "Calls of handlers that have ended.", s.Runs, "of", of)
	m.count("handler_panics_total", "Calls of handlers that panicked.", s.Panics, "of", of)
	m.count("handler_late_total", "Calls of handlers that exceeded their time limit.", s.Late, "of", of)
	m.gauge("handlers_running", "Calls of handlers under way.", s.Running, "of", of)
	m.gauge("handlers_overdue", "Calls of handlers under way that have exceeded their time limit.", len(s.Overdue), "of", of)
	m.seconds(prometheus.CounterValue, "handler_seconds_total", "Time spent in handlers.", s.Time, "of", of)
	m.seconds(prometheus.GaugeValue, "handler_longest_seconds", "Time of the longest call of a handler.", s.MaxTime, "of", of)
}

func (m metrics) links(s link.Stats) {
	m.gauge("links", "Streams for messages that this node opened.", s.Links)
	m.gauge("link_streams", "Streams for messages that peers opened.", s.Streams)
	for p, q := range s.Queued {
		m.gauge("link_queue_messages", "Messages that wait to be sent.", q.Messages, "priority", link.Priority(p).String())
		m.gauge("link_queue_bytes", "Bytes that wait to be sent.", q.Bytes, "priority", link.Priority(p).String())
	}
	m.count("link_messages_total", "Messages on links.", s.Sent, "direction", "sent")
	m.count("link_messages_total", "Messages on links.", s.Received, "direction", "received")
	m.count("link_bytes_total", "Bytes on links, with framing.", s.SentBytes, "direction", "sent")
	m.count("link_bytes_total", "Bytes on links, with framing.", s.ReceivedBytes, "direction", "received")
	m.count("link_writes_total", "Writes that the messages sent took.", s.Batches)
	const unsent, lost = "link_unsent_total", "Messages that were not sent."
	m.count(unsent, lost, s.Unsent.QueueFull, "reason", "queue full")
	m.count(unsent, lost, s.Unsent.Lost, "reason", "link lost")
	m.count(unsent, lost, s.Unsent.Expired, "reason", "expired")
	m.count(unsent, lost, s.Unsent.TooLarge, "reason", "too large")
	const reset, why = "link_resets_total", "Streams of peers that were reset."
	m.count(reset, why, s.Malformed, "reason", "malformed")
	m.count(reset, why, s.Refused, "reason", "refused")
	m.count(reset, why, s.Stalled, "reason", "stalled")
	const requests, asked = "requests_total", "Requests of this node, by how they ended."
	m.count(requests, asked, s.Requests.Answered, "outcome", "answered")
	m.count(requests, asked, s.Requests.Errors, "outcome", "error")
	m.count(requests, asked, s.Requests.Failed, "outcome", "failed")
	m.gauge("requests_pending", "Requests of this node that are not answered yet.", s.Requests.Pending)
	m.count("request_strays_total", "Answers that came for no pending request.", s.Requests.Strays)
	const serving, served = "requests_served_total", "Requests of peers."
	m.count(serving, served, s.Serving.Served, "outcome", "handled")
	m.count(serving, served, s.Serving.Busy, "outcome", "busy")
	m.count(serving, served, s.Serving.Unanswered, "outcome", "nobody answers")
	m.gauge("replies_queued", "Answers to requests of peers that wait to be written.", s.Serving.Queued.Messages)
	m.count("replies_unsent_total", "Answers to requests of peers that could not be sent.", s.Serving.Unreplied)
	m.handlers("request", s.Serving.Handlers)
}

func (m metrics) mesh(s Stats) {
	m.gauge("mesh_topics", "Types of broadcasts that the node has a part in.", s.Mesh.Topics)
	m.count("broadcasts_total", "Broadcasts.", s.Mesh.Published, "direction", "sent")
	m.count("broadcasts_total", "Broadcasts.", s.Mesh.Received, "direction", "received")
	m.count("broadcasts_unheard_total", "Broadcasts that no peer was there for.", s.Mesh.Unheard)
	m.count("broadcast_duplicates_total", "Broadcasts that came again.", s.Mesh.Duplicates)
	const dropped, lost = "broadcasts_dropped_total", "Broadcasts that were not delivered or not passed on."
	m.count(dropped, lost, s.Mesh.Refused, "reason", "validator")
	m.count(dropped, lost, s.Mesh.Malformed, "reason", "malformed")
	m.count(dropped, lost, s.Mesh.Ignored, "reason", "ignored")
	m.count(dropped, lost, s.Mesh.Withheld, "reason", "presence")
	m.count(dropped, lost, s.Mesh.DroppedInbound, "reason", "inbound queue full")
	m.count(dropped, lost, s.Mesh.DroppedOutbound, "reason", "outbound queue full")
	m.count(dropped, lost, s.Mesh.Graylisted, "reason", "graylisted")
	m.count("validator_panics_total", "Calls of validators that panicked.", s.Mesh.Panics)
	m.gauge("broadcasts_missing", "Broadcasts known to have been made, and not here.", int(s.Mesh.Missing))
	m.count("broadcasts_replayed_total", "Broadcasts received out of the histories of peers.", s.Mesh.Replayed)
	m.gauge("mesh_topics_carried", "Types of broadcasts that the node passes on among its peers.", s.Mesh.Carried)
	m.count("mesh_topics_refused_total", "Types of broadcasts that there was no room for.", s.Mesh.NotCarried)
	m.gauge("history_messages", "Broadcasts remembered for peers that were away.", s.Mesh.Histories.Entries)
	m.gauge("history_bytes", "Bytes of broadcasts remembered.", s.Mesh.Histories.Bytes)
	m.count("history_write_failures_total", "Batches that the store of the histories did not take.", s.Mesh.Histories.WriteFailures)
	m.count("history_messages_total", "Broadcasts of histories.", s.Mesh.History.Sent, "direction", "sent")
	m.count("history_messages_total", "Broadcasts of histories.", s.Mesh.History.Received, "direction", "received")
	m.count("history_bad_answers_total", "Answers of peers that were forged or false.", s.Mesh.History.BadAnswers)
	m.count("discovery_lookups_total", "Searches for peers in the mesh, those under way included.", s.Discovery.Lookups)
	m.count("discovery_found_total", "Searches for peers in the mesh that found one.", s.Discovery.Found)
	m.gauge("discovery_table_peers", "Peers in the routing table.", s.Discovery.Table)
}

func (m metrics) bridge(s bridge.Stats) {
	m.gauge("listeners", "Protocols offered to peers.", s.Listeners)
	m.gauge("forwards", "Local addresses that lead to peers.", s.Forwards)
	m.gauge("streams", "Bridged streams open.", s.Streams)
	m.count("streams_opened_total", "Bridged streams, both ways.", s.Opened)
	for reason, n := range s.Ended {
		if reason == "" {
			reason = "complete"
		}
		m.count("streams_ended_total", "Bridged streams that have ended, by why.", n, "reason", string(reason))
	}
	m.count("stream_bytes_total", "Bytes of bridged streams that have ended.", s.Sent, "direction", "sent")
	m.count("stream_bytes_total", "Bytes of bridged streams that have ended.", s.Received, "direction", "received")
}

func (m metrics) direct(s direct.Stats) {
	m.gauge("direct_connections", "Direct connections of WebRTC.", s.Open)
	m.count("direct_attempts_total", "Attempts to reach a peer without a relay that this node began.", s.Tried)
	m.count("direct_made_total", "Attempts to reach a peer without a relay that succeeded.", s.Made)
	const failed, why = "direct_failures_total", "Attempts to reach a peer without a relay that failed, by why."
	m.count(failed, why, s.Failed.Unanswered, "reason", "no address of the peer answers")
	m.count(failed, why, s.Failed.Refused, "reason", "refused")
	m.count(failed, why, s.Failed.NoCircuit, "reason", "no circuit")
	m.count(failed, why, s.Failed.Platform, "reason", "platform")
	m.count(failed, why, s.Failed.Other, "reason", "other")
	m.count("direct_lost_total", "Direct connections of WebRTC that ended because the peer did not answer any more.", s.Lost)
	m.count("direct_circuits_closed_total", "Circuits closed because they carried nothing beside a direct connection.", s.CircuitsClosed)
	m.count("direct_circuits_made_total", "Circuits made because a direct connection was lost.", s.CircuitsMade)
}
