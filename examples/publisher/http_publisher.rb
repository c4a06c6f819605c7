#!/usr/bin/env ruby
# frozen_string_literal: true

# A publisher in plain Ruby: the standard library only, no gem.
#
#   NODEVENT_URL=http://localhost:8080 NODEVENT_PUBLISH_KEY=… ruby http_publisher.rb lobby hello '{"text": "Hi"}'
#
# It publishes over HTTP and retries without publishing twice. It has the one method that the gem expects of a
# publisher, so a Rails application can use it in place of the gem's own:
#
#   NoDevent::Emitter.publisher = HttpPublisher.new("http://localhost:8080", key: ENV["NODEVENT_PUBLISH_KEY"])

require "json"
require "net/http"
require "securerandom"

# Publishes to one server. Safe to share between threads: each call opens its own connection.
class HttpPublisher
  # The server rejected the publication, or did not respond to any attempt.
  class Error < StandardError; end

  # Failures that may be gone at the next attempt.
  TRANSIENT = [SystemCallError, SocketError, IOError, Timeout::Error].freeze

  # @param url [String] the server, such as `http://localhost:8080`
  # @param key [String, nil] the namespace's `publish_key`; not needed where the server
  #   lets programs of its own machine publish without one (`publish: local`, or development mode)
  # @param attempts [Integer]
  # @param timeout [Numeric] seconds for each attempt
  def initialize(url, key: nil, attempts: 5, timeout: 5)
    @url = url.chomp("/")
    @key = key
    @attempts = attempts
    @timeout = timeout
  end

  # @param channel [String] the namespace, such as `/nodevent`
  # @param json [String] one publication, or an array of them
  # @return [Array<String, nil>] the positions that the engine assigned
  # @raise [Error]
  def publish(channel, json)
    uri = URI("#{@url}/api/#{URI.encode_www_form_component(channel.delete_prefix('/'))}/emit")
    # The same key at every attempt: a publication whose response was lost is not published again.
    headers = { "Content-Type" => "application/json", "Idempotency-Key" => SecureRandom.uuid }
    headers["Authorization"] = "Bearer #{@key}" if @key
    JSON.parse(post(uri, json, headers).body).fetch("positions")
  end

  private

  def post(uri, json, headers)
    attempt = 0
    begin
      attempt += 1
      response = request(uri, json, headers)
      return response if response.is_a?(Net::HTTPOK)

      # 503: the engine is unavailable at the moment. Anything else stays wrong however often it is sent.
      # Shortened, and without characters that drive a terminal: any program may have the port.
      text = "#{response.code}: #{response.body.to_s[0, 300].dump}"
      raise Error, text unless response.is_a?(Net::HTTPServiceUnavailable)

      raise IOError, text
    rescue *TRANSIENT => e
      raise Error, "gave up after #{attempt} attempts: #{e.message}" if attempt == @attempts

      sleep(delay(attempt))
      retry
    end
  end

  def request(uri, json, headers)
    options = { use_ssl: uri.scheme == "https", open_timeout: @timeout, read_timeout: @timeout }
    Net::HTTP.start(uri.host, uri.port, **options) { |http| http.post(uri.request_uri, json, headers) }
  end

  # Grows from 0.1 s, with jitter, so that many publishers do not retry at the same moment.
  def delay(attempt)
    0.1 * (2**(attempt - 1)) * rand(0.5..1.0)
  end
end

if $PROGRAM_NAME == __FILE__
  room, event, message = ARGV
  abort "usage: http_publisher.rb ROOM EVENT [JSON]" unless room && event

  publication = { room: room, event: event }
  publication[:message] = JSON.parse(message) if message
  url = ENV.fetch("NODEVENT_URL", "http://localhost:8080")
  publisher = HttpPublisher.new(url, key: ENV.fetch("NODEVENT_PUBLISH_KEY", nil))
  begin
    puts publisher.publish(ENV.fetch("NODEVENT_NAMESPACE", "/nodevent"), JSON.generate(publication))
  rescue HttpPublisher::Error => e
    abort e.message
  end
end
