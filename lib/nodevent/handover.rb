# frozen_string_literal: true

require "json"
require "socket"
require "nodevent/handover_path"

module NoDevent
  # Hands connections over to the server on the same machine: sends their descriptors through its Unix socket, with what
  # was read of them. `protocol/README.md` section 18 defines the message.
  # @api private
  module Handover
    # There is no server, or it does not respond.
    class Unavailable < StandardError; end
    # It does not reply in time.
    class Silent < Unavailable; end
    # The server does not take the connection over.
    class Rejected < StandardError; end

    # The name and the version of the message.
    MAGIC = "NDH1"
    # The time for sending a message and for its reply.
    #
    # # Units
    # Seconds.
    TIMEOUT = 5
    # The time for which a server that did not reply is not asked again.
    #
    # # Units
    # Seconds.
    PAUSE = 1
    # Limits of the server, and of its reply.
    #
    # # Units
    # Bytes.
    MAX_DETAILS = 64 * 1024
    MAX_READ = 80 * 1024
    MAX_REPLY = 4096

    private_constant :MAGIC, :TIMEOUT, :PAUSE, :MAX_DETAILS, :MAX_READ, :MAX_REPLY

    # A connection to the server, for one message.
    class Link
      # @param path [String] of the server's socket
      # @raise [Unavailable]
      def initialize(path)
        @deadline = Handover.now + TIMEOUT
        @socket = Socket.new(:UNIX, :STREAM)
        # Without waiting: the queue of a server that is stopped is full at some time.
        raise Errno::EAGAIN if @socket.connect_nonblock(Addrinfo.unix(path), exception: false) == :wait_writable

        check_owner
      rescue SystemCallError, ArgumentError => e
        close
        raise Unavailable, "#{path}: #{e.message}"
      end

      # Sends a descriptor, and waits until the server has it.
      # @param io [BasicSocket]
      # @param details [Hash] what the application knows
      # @param read [String] the head of a request, and what was read after it
      # @raise [Unavailable, Rejected]
      def send_socket(io, details, read)
        details = JSON.generate(details)
        check("what NoDevent.identify returns", details, MAX_DETAILS)
        check("the request", read, MAX_READ)
        message = [MAGIC, details.bytesize, read.bytesize].pack("a4NN") << details.b << read.b
        send_all(message, Socket::AncillaryData.unix_rights(io))
        reply = read_reply
        raise Rejected, reply.delete_prefix("error: ") unless reply == "ok"
      rescue SystemCallError, IOError => e
        raise Unavailable, e.message
      end

      def close
        @socket&.close
      end

      private

      # A program of another user, in a folder where all users may create files, would receive the cookies of visitors.
      def check_owner
        user, = @socket.getpeereid
        return if user == Process.euid

        raise ArgumentError, "the program that listens there belongs to the user #{user}, not to the application's"
      end

      def check(what, text, max)
        return if text.bytesize <= max

        raise Rejected, "#{what} has #{text.bytesize} bytes, and the server accepts #{max}"
      end

      def send_all(message, rights)
        until message.empty?
          sent = @socket.sendmsg_nonblock(message, 0, nil, *rights, exception: false)
          if sent == :wait_writable
            wait(:wait_writable)
          else
            message = message.byteslice(sent..)
            rights = nil
          end
        end
      end

      def read_reply
        reply = +""
        until reply.include?("\n")
          case chunk = @socket.read_nonblock(MAX_REPLY, exception: false)
          when :wait_readable then wait(:wait_readable)
          when nil then raise Unavailable, "the server did not reply"
          else reply << chunk
          end
        end
        reply.lines.first.chomp
      end

      def wait(condition)
        left = @deadline - Handover.now
        raise Silent, "no reply within #{TIMEOUT} s" unless left.positive? && @socket.public_send(condition, left)
      end
    end

    class << self
      # @return [String, nil] the path of the server's socket: that of the environment, of the configuration, or of a
      #   server that Puma has started here
      def path
        HandoverPath.named || Emitter.config.handover_socket || started_here
      end

      # Connects to the server. Logs once that it is unavailable, and once that it is available again.
      # @yieldparam link [Link]
      # @raise [Unavailable]
      def open
        raise @paused if @paused && now < @resume_at

        link = Link.new(path || raise(Unavailable, "no `handover_socket` is configured"))
        result = yield link
        available
        result
      rescue Unavailable => e
        unavailable(e)
        raise
      ensure
        link&.close
      end

      def now
        Process.clock_gettime(Process::CLOCK_MONOTONIC)
      end

      private

      def started_here
        path = HandoverPath.default((Configuration.root || Dir.pwd).to_s)
        path if File.socket?(path)
      end

      # A server that accepts and does not reply would hold every thread for the whole time.
      def unavailable(error)
        if error.is_a?(Silent)
          @resume_at = now + PAUSE
          @paused = error
        end
        return if @unavailable

        @unavailable = true
        Logger.log(:warn, "the server cannot be reached through its Unix socket (#{error.message}); requests for it " \
                          "get 503 until it can")
      end

      def available
        @paused = nil
        return unless @unavailable

        @unavailable = false
        Logger.log(:info, "the server can be reached through its Unix socket again")
      end
    end
  end
end
