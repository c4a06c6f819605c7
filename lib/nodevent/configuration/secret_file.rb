# frozen_string_literal: true

module NoDevent
  class Configuration
    # Reads a secret from a file of its own, as Docker and systemd provide them. The server reads them alike.
    module SecretFile
      # A larger file is not a secret.
      #
      # # Units
      # Bytes.
      MAX_BYTES = 64 * 1024

      private_constant :MAX_BYTES

      class << self
        # @param path [String]
        # @return [String] the text, without the line break at its end
        # @raise [ArgumentError] if the file cannot be read, or contains no secret; without its text
        def read(path)
          text = File.read(path, MAX_BYTES + 1, encoding: Encoding::UTF_8).to_s
          raise ArgumentError, "#{path} is larger than 64 KB" if text.bytesize > MAX_BYTES

          text = text.delete_suffix("\n").delete_suffix("\r")
          raise ArgumentError, "#{path} is empty" if text.strip.empty?
          return text if text.valid_encoding? && text.strip == text && !text.match?(/[[:cntrl:]]/)

          raise ArgumentError, "#{path} contains white space at an end, several lines, or control characters"
        rescue SystemCallError => e
          raise ArgumentError, "#{path} cannot be read: #{e.message[/\A[^@]*/].strip}"
        end
      end
    end
  end
end
