# frozen_string_literal: true

module NoDevent
  # The trace that a publication belongs to, if the application runs the SDK of OpenTelemetry and the current span is
  # sampled. Without the SDK, the native publisher samples itself (`publisher: { trace_sample_rate: }`). The server
  # reports the steps of the publication as spans of the trace, and removes what is written here.
  # @api private
  module Trace
    class << self
      # @return [Boolean] whether the application runs the SDK
      def open_telemetry?
        defined?(::OpenTelemetry::SDK) ? true : false
      end

      # @return [String, nil] the `traceparent` of the current span
      def parent
        return unless open_telemetry?

        context = ::OpenTelemetry::Trace.current_span.context
        return unless context.valid? && context.trace_flags.sampled?

        "00-#{context.hex_trace_id}-#{context.hex_span_id}-01"
      rescue ::Ractor::Error
        # The SDK belongs to the main Ractor.
        nil
      end

      # @param json [String] a publication
      # @param max_size [Integer] the largest one that the server accepts, in bytes
      # @return [String] the publication with the trace as its first member
      def add(json, max_size)
        parent = self.parent or return json
        member = "\"traceparent\":\"#{parent}\","
        return json if !json.start_with?("{\"") || json.bytesize + member.bytesize > max_size

        "{#{member}#{json[1..]}"
      end
    end
  end
end
