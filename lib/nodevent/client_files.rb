# frozen_string_literal: true

require "digest"

module NoDevent
  # The files of the browser client that are part of pages. The gem contains them in `client/dist`.
  # @api private
  module ClientFiles
    FOLDER = File.expand_path("../../client/dist", __dir__)
    # What the asset pipelines of Rails publish.
    ASSETS = File.join(FOLDER, "assets").freeze

    private_constant :FOLDER

    class << self
      # @return [String] the script that defines `NoDevent` until the server's script has loaded
      def queue
        @queue ||= File.read(File.join(FOLDER, "queue.js"), encoding: Encoding::UTF_8).strip.freeze
      end

      # @return [Array<String>] the names of the files in {ASSETS}
      def assets
        Dir.children(ASSETS).sort
      end

      # @return [String] the hash of {queue}, as a Content-Security-Policy lists it
      def queue_hash
        @queue_hash ||= "'sha256-#{Digest::SHA256.base64digest(queue)}'".freeze
      end
    end
  end
end
